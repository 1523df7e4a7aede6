"""`ganlet export --to onnx`: generator.onnx and its variants, each compared with the network it was made from."""

from pathlib import Path

from ganlet.artifact import Stage, is_listed_as
from ganlet.commands.export.checked import removed_if_refused
from ganlet.device import OnnxRunner
from ganlet.errors import GanletError
from ganlet.observer import Observer
from ganlet.recipe import Verify

LEAST_EXPLAINED = 0.9
"""Part of the network's variation that an exported file has to draw: less is on the way to grey."""


def export_onnx_file(
    run: Path,
    stage: Stage,
    precision: str,
    profile: str | None,
    tune: bool,
    *,
    limits: Verify,
    observer: Observer,
    as_source: bool = False,
) -> Path:
    """RUN/generator.onnx, or a variant, which is made of it; what is there and made of the same is skipped.

    `as_source`: the file is made for another target, so that nothing is said of one that is there.

    Raises GanletError for an unknown precision or profile, and when ONNX Runtime draws something else than torch.
    """
    from ganlet.export.variants import export_variant, is_made, variant_name

    plain, path = run / "generator.onnx", run / variant_name(precision, profile, tune)
    made = is_listed_as(plain, stage.as_source())
    if not made:
        _export_plain(stage, plain, limits, observer)
    complete = is_made(run, stage, precision, profile, tune, limits.parity_int8_psnr_db) if path != plain else made
    if complete and not as_source:
        observer.say(f"export: {path} is complete, skipped")
    elif path != plain and not complete:
        export_variant(run, stage, precision, profile, tune, limits.parity_int8_psnr_db)
        _check_variant(path, stage, precision, limits, observer)
    return path


def _export_plain(stage: Stage, path: Path, limits: Verify, observer: Observer) -> None:
    from ganlet.export import export_onnx
    from ganlet.verify.parity import check_parity
    from ganlet.verify.torch_runner import TorchRunner

    export_onnx(stage, path.parent)
    limit = limits.parity_max_abs
    with removed_if_refused(path):
        parity = check_parity(OnnxRunner(path), TorchRunner.of_stage(stage), limit=limit, seed=0)
        batches = ", ".join(parity.batches)
        observer.say(f"export: {stage.name} -> {path}, max abs difference {parity.max_abs:.1e} at batch {batches}")
        if parity.status != "passed":
            raise GanletError(
                f"{path} drew something else than the {stage.name} it was made from, by {parity.max_abs:.2g} of a "
                f"pixel, expected at most {limit:g}, and was removed; update torch, onnx and onnxruntime, then export "
                "again."
            )


def _check_variant(path: Path, stage: Stage, precision: str, limits: Verify, observer: Observer) -> None:
    """Say how near a variant is to the network. Raises GanletError, and removes it, when it is another generator.

    What is merely not near enough for the recipe stays: to judge it is for `ganlet verify`.
    """
    from ganlet.verify.artifacts import parity_limits
    from ganlet.verify.parity import check_parity
    from ganlet.verify.torch_runner import TorchRunner

    limit, least_psnr_db = parity_limits(precision, limits)
    with removed_if_refused(path):
        network = TorchRunner.of_stage(stage)
        parity = check_parity(OnnxRunner(path), network, seed=0, limit=limit, least_psnr_db=least_psnr_db)
        if parity.explained is not None and parity.explained < LEAST_EXPLAINED:
            part = f"{parity.explained:.0%}" if parity.explained > 0 else "nothing"
            raise GanletError(
                f"{path.name} drew {part} of what varies in pictures of the {stage.name} it was made "
                f"from, expected at least {LEAST_EXPLAINED:.0%}, and was removed; export it in fp32."
            )
    psnr = "equal to the bit" if parity.psnr_db is None else f"PSNR {parity.psnr_db:.1f} dB"
    observer.say(f"export: {stage.name} -> {path}, {psnr}, max abs difference {parity.max_abs:.1e}")
    if parity.status != "passed":
        asked = [] if limit is None else [f"at most {limit:g}"]
        asked += [] if least_psnr_db is None else [f"at least {least_psnr_db:g} dB"]
        observer.say(f"export: that is not within what [verify] asks, {' and '.join(asked)}: it will not pass")
