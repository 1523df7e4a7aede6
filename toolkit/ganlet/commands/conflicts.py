"""Installed packages that do not work together, found from their metadata: nothing is imported to find them."""

import re
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

BECAUSE = {
    "onnx": "older ones follow a model's pointers to files outside its folder (CVE-2026-27489, -34446, -34447)",
}
"""Package -> why Ganlet asks for the versions it asks for, where there is more to it than an interface."""

_IMPORT_TIMEOUT_S = 60


def find_conflicts() -> list[str]:
    """A sentence, with the remedy, for each conflict; two ONNX Runtimes are found where they are loaded."""
    return wrong_versions() + wrong_torchvision()


def wrong_versions() -> list[str]:
    """Packages of other versions than Ganlet's own metadata asks for, extras included."""
    try:
        requirements = metadata.requires("ganlet") or []
    except metadata.PackageNotFoundError:  # a copy of the source, not installed
        return []
    conflicts: dict[str, str] = {}
    for requirement in map(Requirement, requirements):
        name, wanted, version = requirement.name, str(requirement.specifier), _installed(requirement.name)
        if version is None or _only_for_tests(requirement) or _fits(version, requirement):
            continue
        because = f", since {BECAUSE[name]}" if name in BECAUSE else ""
        conflicts[name] = (
            f'{name} {version} is installed, Ganlet needs {wanted}{because}; run `pip install "{name}{wanted}"`.'
        )
    return list(conflicts.values())


def _only_for_tests(requirement: Requirement) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": "test"}) and not marker.evaluate({"extra": ""})


def _fits(version: str, requirement: Requirement) -> bool:
    """Whether an installed version is one that is asked for. A version in no known form counts as one."""
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def wrong_torchvision() -> list[str]:
    """torchvision that was built for another torch: it fails to import with `operator torchvision::nms does not exist`.

    It is imported, by a child, only where its version or its build looks wrong: that takes seconds.
    """
    torch, vision = _build("torch"), _build("torchvision")
    if torch is None or vision is None or _pair(torch) == _pair(vision, minor=-15):
        return []
    try:
        child = subprocess.run(
            [sys.executable, "-c", "import torchvision"], capture_output=True, text=True, timeout=_IMPORT_TIMEOUT_S
        )
        if child.returncode == 0:
            return []
        reason = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_IMPORT_TIMEOUT_S} s"
    return [
        f"torchvision {vision} does not work with torch {torch} ({reason[:120]}); install both in one command and from "
        "one place: `pip install --force-reinstall torch torchvision`."
    ]


def _pair(version: Version, minor: int = 0) -> tuple[int, str | None]:
    """(second number plus `minor`, platform such as cu130): torchvision 0.N is built with torch 2.(N - 15)."""
    return version.minor + minor, version.local


def _build(package: str) -> Version | None:
    """A version with its build, such as 2.14.1+cu130, which the package's version.py tells; None without one."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    version = re.search(r"__version__ = ['\"]([^'\"]+)['\"]", text)
    try:
        return Version(version[1]) if version else None
    except InvalidVersion:
        return None


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
