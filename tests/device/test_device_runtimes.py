"""What is imported when, and what is said of missing, damaged and doubled runtimes."""

import subprocess
import sys
from pathlib import Path

import pytest

import ganlet
from ganlet.device.runtimes import check_onnxruntime_conflict, installed_onnxruntimes, load_onnxruntime
from ganlet.errors import GanletError

HEAVY = ("torch", "onnx", "typer", "pydantic", "rich", "scipy")


def modules_after(code: str) -> set[str]:
    """Top-level modules of a fresh interpreter that ran `code`."""
    root = str(Path(ganlet.__file__).parents[1])
    script = f"import sys; sys.path.append({root!r}); {code}; print(*{{m.split('.')[0] for m in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def fake_distribution(folder: Path, name: str) -> None:
    info = folder / f"{name.replace('-', '_')}-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")


def test_importing_the_room_is_light() -> None:
    modules = modules_after("import ganlet.device, ganlet.device.footprint")
    assert "numpy" in modules and not modules & {*HEAVY, "onnxruntime"}


def test_a_session_stays_light(generator: Path) -> None:
    modules = modules_after(f"import ganlet.device; ganlet.device.Sampler({str(generator)!r}, threads=1).images(0, 1)")
    assert "onnxruntime" in modules and not modules & set(HEAVY)


def test_two_runtimes_in_one_environment_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    fake_distribution(tmp_path, "onnxruntime")
    assert installed_onnxruntimes() == {"onnxruntime": "1.2.3"}
    check_onnxruntime_conflict()
    fake_distribution(tmp_path, "onnxruntime-gpu")
    assert installed_onnxruntimes() == {"onnxruntime": "1.2.3", "onnxruntime-gpu": "1.2.3"}
    with pytest.raises(GanletError, match="pip uninstall -y onnxruntime onnxruntime-gpu"):
        load_onnxruntime()


def test_a_missing_runtime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    with pytest.raises(GanletError, match=r'pip install "ganlet\[cpu\]"'):
        load_onnxruntime()


@pytest.mark.parametrize("content", ["", "import _not_there_either", "raise ImportError('libfoo.so')"])
def test_a_damaged_runtime_is_told(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What uninstalling one of two distributions leaves behind: a folder without the important files.
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(content)
    with pytest.raises(GanletError, match="cannot be imported"):
        load_onnxruntime()
    sys.modules.pop("onnxruntime", None)
