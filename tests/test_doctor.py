"""What the machine can do, under conditions made up here."""

import io
import sys
from typing import Any

import pytest
import torch
from rich.console import Console

from ganlet import doctor
from ganlet.device import runtimes
from ganlet.doctor import Finding, examine, table


def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in examine()}


def test_this_machine_can_do_what_these_tests_do() -> None:
    found = findings()
    assert list(found) == ["machine", "disk", "sample", "train", "fid", "graphics card"]
    assert {found[name].status for name in ("machine", "disk", "sample", "train")} == {"ready"}
    assert torch.__version__.split("+")[0] in found["train"].detail
    assert f"Python {sys.version.split()[0]}" in found["machine"].detail
    assert found["graphics card"].status == ("ready" if torch.cuda.is_available() else "missing")
    assert found["disk"].as_json() == {"name": "disk", "status": "ready", "detail": found["disk"].detail}


def installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise runtimes.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(runtimes.metadata, "version", version)


def test_both_runtimes_are_a_conflict_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {"onnxruntime": "1.22.0", "onnxruntime-gpu": "1.21.0"})
    found = findings()["sample"]
    assert found.status == "conflict"
    assert "onnxruntime 1.22.0 and onnxruntime-gpu 1.21.0" in found.detail
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in found.detail


def test_one_runtime_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {"onnxruntime-gpu": "1.21.0"})
    assert findings()["sample"] == Finding("sample", "ready", "onnxruntime-gpu 1.21.0")
    installed(monkeypatch, {})
    found = findings()["sample"]
    assert found.status == "missing" and 'pip install "ganlet[cpu]"' in found.detail


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    known = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in missing else known(name))


def test_the_original_fid_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torchvision", "pytorch_fid")
    found = findings()["fid"]
    assert found.status == "missing" and "torchvision, pytorch_fid" in found.detail and "ganlet[fid]" in found.detail
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    assert findings()["fid"].status == "ready"


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch", "scipy")
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would raise
    found = findings()
    assert found["train"] == Finding("train", "missing", 'no torch, scipy: pip install "ganlet[train]"')
    assert found["graphics card"].status == "missing" and "torch is not installed" in found["graphics card"].detail
    assert found["sample"].status == "ready"  # sampling needs no torch


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_every_part_of_the_training_extra_is_looked_for(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    without(monkeypatch, package)
    found = findings()["train"]
    assert found.status == "missing" and package in found.detail


def test_cards_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: ["GTX 1660 Ti", "RTX 4090"][index])
    assert findings()["graphics card"] == Finding("graphics card", "ready", "GTX 1660 Ti, RTX 4090")


def drawn(found: list[Finding]) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table(found))
    stream: Any = console.file
    return str(stream.getvalue())


def test_the_table_shows_every_word_of_every_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {})
    without(monkeypatch, "torch")
    found = examine()
    text = drawn(found)
    for finding in found:
        assert finding.name in text and finding.status in text and finding.detail in text
    assert 'pip install "ganlet[cpu]"' in text  # brackets are no markup
