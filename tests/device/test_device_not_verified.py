"""What was never checked on real hardware stands in one list, which the doctor and the report page show."""

import json
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from ganlet.commands import doctor
from ganlet.device.not_verified import NOT_VERIFIED
from ganlet.report import write_report
from support import Answer


def test_each_says_what_is_known_of_it_instead() -> None:
    whats = [item.what for item in NOT_VERIFIED]
    assert len(set(whats)) == len(whats) and all(item.known and not item.known.endswith(".") for item in NOT_VERIFIED)
    for words in ("training on an NVIDIA card", "TensorRT", "DirectML", "CoreML", "Inception weights", "phone"):
        assert any(words in what for what in whats), words


def test_the_doctor_and_the_report_page_show_them(
    ganlet: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "examine", list)
    code, out, _ = ganlet("doctor", "--json")
    assert code == 0 and json.loads(out.splitlines()[-1])["not_verified"] == [item.as_json() for item in NOT_VERIFIED]
    assert out.count("\n- ") == len(NOT_VERIFIED)
    (tmp_path / "report.json").write_text(json.dumps({"schema": 1, "run": "a", "verdict": "failed"}))
    page = unescape(write_report(tmp_path).read_text())
    for item in NOT_VERIFIED:
        assert f"- {item.what} ({item.known})" in out and f"{item.what}: {item.known}." in page


def test_the_list_is_light() -> None:
    code = "import sys, ganlet.device.not_verified; print({'torch', 'onnx', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
