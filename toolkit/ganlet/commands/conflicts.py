"""Installed packages that do not work together, found from their metadata: nothing is imported to find them."""

import re
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

BECAUSE = {
    "onnx": "older ones follow a model's pointers to files outside its folder (CVE-2026-27489, -34446, -34447)",
}
"""Package -> why Ganlet asks for the versions it asks for, where there is more to it than an interface."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?([<>=!~,.\d\s*]*)\)?")
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
    found: dict[str, str] = {}
    for requirement in requirements:
        parsed = _REQUIREMENT.match(requirement.partition(";")[0])
        version = _installed(parsed[1]) if parsed else None
        if parsed is None or version is None or fits(version, parsed[2]) or _only_for_tests(requirement):
            continue
        name, wanted = parsed[1], parsed[2].strip()
        because = f", since {BECAUSE[name]}" if name in BECAUSE else ""
        found[name] = (
            f'{name} {version} is installed, Ganlet needs {wanted}{because}; run `pip install "{name}{wanted}"`.'
        )
    return list(found.values())


def _only_for_tests(requirement: str) -> bool:
    return re.search(r"extra\s*==\s*['\"]test['\"]", requirement) is not None


def fits(version: str, wanted: str) -> bool:
    """Whether a version meets bounds such as `>=1.21,<2`, by its numbers; other operators are taken to be met."""
    numbers = _numbers(version)
    for bound in wanted.replace(" ", "").split(","):
        if bound.startswith(">=") and numbers < _numbers(bound[2:]):
            return False
        if bound.startswith("<") and not bound.startswith("<=") and numbers >= _numbers(bound[1:]):
            return False
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


def _pair(build: str, minor: int = 0) -> tuple[int, str]:
    """(second number plus `minor`, platform such as cu130): torchvision 0.N is built with torch 2.(N - 15)."""
    version, _, platform = build.partition("+")
    return _numbers(version)[1] + minor, platform


def _build(package: str) -> str | None:
    """A version with its build, such as 2.14.1+cu130, which the package's version.py tells; None without one."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"__version__ = ['\"](\d+\.\d+[^'\"]*)['\"]", text)
    return found[1] if found else None


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """1.21.0rc1 -> (1, 21): numbers without zeros at the end, so that 1.21 and 1.21.0 are equal."""
    numbers = [int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", version)[0])]  # type: ignore[index]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
