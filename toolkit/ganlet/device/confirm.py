"""`ganlet verify --artifact`: does this runtime, on this device, draw what the trained network drew at export?

Needs three files of a run - the artifact, manifest.json and expected.npz - and no torch.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganlet.device.expected import EXPECTED, ROUNDING, Expected, read_expected
from ganlet.device.feed import feed_at, row_shapes
from ganlet.device.manifest import MANIFEST, check_unchanged, listed
from ganlet.device.open import open_runner
from ganlet.device.runner import Runner
from ganlet.errors import GanletError

_RANGE = 2.0  # of a pixel, from -1 to 1
_LATENT_LIMIT = 1e-6  # four roundings of a float32 near 4: logarithm and cosine of another machine may differ by that


@dataclass(frozen=True)
class Limits:
    """What a precision may differ from the trained network: pixels in [-1, 1], decibels of a range of 2."""

    max_abs: float | None = None
    psnr_db: float | None = None


LIMITS = {
    "fp32": Limits(max_abs=1e-3),  # an eighth of a grey level: at most a rounding of the 8-bit picture may differ
    "fp16": Limits(psnr_db=50.0),  # 0.8 of a grey level, root mean square
    "int8": Limits(psnr_db=38.0),  # 3.2 grey levels, root mean square: just not seen
}


@dataclass(frozen=True)
class Confirmed:
    """One check, as a row of report.json: passed or failed, with the figure that it rests on."""

    name: str
    unit: str
    limit: float
    measured: float | None
    status: Literal["passed", "failed"]
    reason: str


@dataclass(frozen=True)
class Confirmation:
    """What a device found; `max_abs` of a pixel in [-1, 1], `psnr_db` None where all are equal to the bit."""

    artifact: str
    precision: str
    provider: str
    pictures: int
    max_abs: float
    psnr_db: float | None
    checks: tuple[Confirmed, ...]

    @property
    def verdict(self) -> Literal["passed", "failed"]:
        return "passed" if all(check.status == "passed" for check in self.checks) else "failed"

    def as_json(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {"verdict": self.verdict} | asdict(self)


def confirm(path: Path, *, provider: str = "auto", threads: int | None = None) -> Confirmation:
    """Compare the artifact at `path`, run here, with expected.npz of the same run; arguments as for `open_runner`.

    Raises GanletError when one of the three files is missing, changed, or of another generator than the others, and as
    `open_runner` does.
    """
    path = Path(path)
    if not path.is_file():
        raise GanletError(f"{path} is no file; give the exported file itself, such as generator.onnx.")
    found = listed(path)
    if found is None:
        raise GanletError(
            f"No {MANIFEST} beside {path} lists it, so that nothing tells whether it is whole and what it should draw; "
            f"copy {MANIFEST} and {EXPECTED} of its run beside it."
        )
    manifest_path, entry = found
    precision = str(entry.get("precision"))
    if precision not in LIMITS:
        raise GanletError(
            f"{manifest_path} lists {path.name} with the precision {precision}; expected {', '.join(LIMITS)}."
        )
    expected_path = manifest_path.parent / EXPECTED
    expected = read_expected(expected_path)
    if listed(expected_path) is None:
        raise GanletError(f"{manifest_path} does not list {EXPECTED}; copy both from one run, or export again.")
    check_unchanged(expected_path)
    runner = open_runner(path, provider=provider, threads=threads)
    _check_same(path, entry, runner, expected_path, expected)
    return _compare(path, precision, runner, expected)


def _check_same(path: Path, entry: dict[str, Any], runner: Runner, expected_path: Path, expected: Expected) -> None:
    """Raise GanletError when the pictures are of another generator than the artifact."""
    made_from = entry.get("made_from")
    recipe_sha256 = getattr(runner, "metadata", {}).get("recipe_sha256")
    pairs = [
        ("inputs of", row_shapes(runner.ports), {name: array.shape[1:] for name, array in expected.feed.items()}),
        ("pictures of", runner.picture_shape, expected.pictures.shape[1:]),
    ]
    if isinstance(made_from, dict) and "weights_sha256" in made_from:
        pairs.append(("weights", made_from["weights_sha256"], expected.weights_sha256))
    if recipe_sha256 is not None:
        pairs.append(("the recipe", recipe_sha256, expected.recipe_sha256))
    for what, got, wanted in pairs:
        if got != wanted:
            raise GanletError(
                f"{expected_path} is of another generator than {path.name}: {what} {wanted}, but the artifact has "
                f"{got}; copy both from one run, or export again."
            )


def _compare(path: Path, precision: str, runner: Runner, expected: Expected) -> Confirmation:
    drawn = np.clip(runner(expected.feed), -1, 1)  # as the expected ones were
    difference = drawn.astype(np.float64) - expected.pictures
    max_abs, square = float(np.abs(difference).max()), float(np.square(difference).mean())
    psnr_db = 10 * math.log10(_RANGE**2 / square) if square else None
    limits, what = LIMITS[precision], f"{len(drawn)} pictures in {precision} on {runner.provider}"
    drawn_here = feed_at(tuple(port for port in runner.ports if port.name != "picture"), expected.seed, 0, len(drawn))
    apart = max((float(np.abs(own - expected.feed[name]).max()) for name, own in drawn_here.items()), default=0.0)
    checks = [
        _at_most("latents drawn here", apart, _LATENT_LIMIT, "", f"the latents of seed {expected.seed} at export")
    ]
    if limits.max_abs is not None:
        reason = f"{what}; {ROUNDING:.1e} of it may be the rounding of {EXPECTED}"
        checks.append(_at_most("largest difference of a pixel", max_abs, limits.max_abs, "of [-1, 1]", reason))
    if limits.psnr_db is not None:
        near = psnr_db is None or psnr_db >= limits.psnr_db
        checks.append(Confirmed("PSNR", "dB", limits.psnr_db, psnr_db, "passed" if near else "failed", what))
    return Confirmation(path.name, precision, runner.provider, len(drawn), max_abs, psnr_db, tuple(checks))


def _at_most(name: str, measured: float, limit: float, unit: str, reason: str) -> Confirmed:
    return Confirmed(name, unit, limit, measured, "passed" if measured <= limit else "failed", reason)


def as_lines(confirmation: Confirmation) -> list[str]:
    """A line a check, and the verdict."""
    lines = []
    for check in confirmation.checks:
        mark = {"passed": "✓", "failed": "✗"}[check.status]
        measured = "equal to the bit" if check.measured is None else f"{check.measured:.3g} {check.unit}".strip()
        sign = "at least" if check.name == "PSNR" else "at most"
        lines.append(f"{mark} {check.name}: {measured}, {sign} {check.limit:g} ({check.reason})")
    psnr = "equal to the bit" if confirmation.psnr_db is None else f"PSNR {confirmation.psnr_db:.1f} dB"
    lines.append(
        f"{confirmation.verdict}: {confirmation.artifact} on {confirmation.provider}, pixels differ by at most "
        f"{confirmation.max_abs:.1e} of [-1, 1], {psnr}"
    )
    return lines
