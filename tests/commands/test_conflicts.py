"""Packages that do not work together, under conditions made up here."""

from pathlib import Path

import pytest
from packaging.version import Version

from ganlet.commands import conflicts
from ganlet.commands.conflicts import find_conflicts, wrong_torchvision, wrong_versions


def test_this_environment_has_no_conflict() -> None:
    assert find_conflicts() == []


def environment(monkeypatch: pytest.MonkeyPatch, requirements: list[str], versions: dict[str, str]) -> None:
    monkeypatch.setattr(conflicts.metadata, "requires", lambda name: requirements)
    monkeypatch.setattr(conflicts, "_installed", versions.get)


@pytest.mark.parametrize(
    ("version", "wanted", "met"),
    [
        ("1.21", ">=1.21", True),
        ("1.21.0", ">=1.21", True),
        ("1.20.9", ">=1.21", False),
        ("1.3", ">=1.21", False),  # numbers, not letters
        ("1.21rc1", ">=1.21", False),
        ("1.22rc1", ">=1.21", True),
        ("2.14.1+cu130", ">=2.9", True),
        ("1.9.2", ">=1.7,<2", True),
        ("2.0.0", ">=1.7,<2", False),
        ("2.0rc1", "<2", False),
        ("0.3", "", True),
        ("7", "!=7", False),
        ("7.1", "~=7.0", True),
        ("unknown", ">=1", True),  # nothing can be said of it
    ],
)
def test_versions_are_compared_by_their_numbers(
    version: str, wanted: str, met: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, [f"package{wanted}"], {"package": version})
    assert (wrong_versions() == []) is met


def test_an_old_onnx_is_named_with_the_reason_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=1.26", 'onnx>=1.21; extra == "train"', 'tensorrt-rtx<2,>=1.7; extra == "trt"']
    wanted += ['scipy<1.18; extra == "test"', 'ganlet[cpu,train]; extra == "test"']
    environment(monkeypatch, wanted, {"numpy": "2.4.0", "onnx": "1.20.1", "scipy": "1.19", "tensorrt-rtx": "2.0"})
    onnx, tensorrt = wrong_versions()
    assert onnx.startswith("onnx 1.20.1 is installed, Ganlet needs >=1.21, since ") and "CVE-2026-27489" in onnx
    assert 'pip install "onnx>=1.21"' in onnx and 'pip install "tensorrt-rtx<2,>=1.7"' in tensorrt


def test_the_projects_own_bounds_are_read() -> None:
    # The guard against CVE-2026-27489 and its kin stands in pyproject.toml alone; it must not be lost there.
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert "onnx>=1.21" in project["optional-dependencies"]["train"] and set(conflicts.BECAUSE) == {"onnx"}


def test_a_copy_of_the_source_has_no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise conflicts.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(conflicts.metadata, "requires", absent)
    assert wrong_versions() == []


@pytest.mark.parametrize(
    ("torch", "vision"),
    [("2.13.0+cpu", "0.29.1+cu130"), ("2.14.1+cu130", "0.28.0+cu130"), ("2.14.1", "0.29.1+cu130")],
)
def test_torchvision_for_another_torch_is_imported_to_find_out(
    torch: str, vision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conflicts, "_build", {"torch": Version(torch), "torchvision": Version(vision)}.get)
    package = tmp_path / "torchvision"
    package.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (sentence,) = wrong_torchvision()
    assert f"torchvision {vision} does not work with torch {torch}" in sentence
    assert "operator torchvision::nms does not exist" in sentence and "pip install --force-reinstall" in sentence
    (package / "__init__.py").write_text("")
    assert wrong_torchvision() == []  # it looks wrong and works


@pytest.mark.parametrize(
    ("torch", "vision"),
    [("2.14.1+cu130", "0.29.1+cu130"), ("2.9.0+cpu", "0.24.0+cpu"), (None, "0.29.1"), ("2.14.1", None)],
)
def test_a_pair_that_looks_right_is_not_imported(
    torch: str | None, vision: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = {"torch": torch and Version(torch), "torchvision": vision and Version(vision)}
    monkeypatch.setattr(conflicts, "_build", builds.get)
    monkeypatch.setattr(conflicts.subprocess, "run", lambda *_, **__: pytest.fail("imported"))
    assert wrong_torchvision() == []


def test_builds_are_read_from_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    assert conflicts._build("torch") == Version(torch.__version__)
    assert conflicts._build("no_such_package") is None
