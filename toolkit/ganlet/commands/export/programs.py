"""`ganlet export --to executorch`: programs for phones, compared with the network before they are done."""

from pathlib import Path

from ganlet.artifact import Stage, is_listed_as
from ganlet.commands.export.checked import removed_if_refused
from ganlet.errors import GanletError
from ganlet.observer import Observer
from ganlet.recipe import Verify


def export_program(run: Path, stage: Stage, precision: str, *, limits: Verify, observer: Observer) -> Path:
    """RUN/generator.pte or RUN/generator.int8.pte. Raises GanletError when XNNPACK draws something else than torch."""
    from ganlet.device.executorch_runner import ExecuTorchRunner
    from ganlet.export.executorch_export import FILES, export_executorch, require_executorch
    from ganlet.verify.artifacts import parity_limits
    from ganlet.verify.parity import check_parity
    from ganlet.verify.torch_runner import TorchRunner

    require_executorch(precision)
    path = run / FILES[precision]
    if is_listed_as(path, stage.as_source()):
        observer.say(f"export: {path} is complete, skipped")
        return path
    export_executorch(stage, run, precision)
    limit, least_psnr_db = parity_limits(precision, limits)
    with removed_if_refused(path):
        network = TorchRunner.of_stage(stage)
        parity = check_parity(ExecuTorchRunner(path), network, seed=0, limit=limit, least_psnr_db=least_psnr_db)
        psnr = "equal to the bit" if parity.psnr_db is None else f"{parity.psnr_db:.1f} dB"
        observer.say(f"export: {stage.name} -> {path}, max abs difference {parity.max_abs:.1e}, {psnr}")
        if parity.status == "passed":
            return path
        if least_psnr_db is None:
            raise GanletError(
                f"{path} differed from the {stage.name} it was made from by {parity.max_abs:.2g}, expected at most "
                f"{limit:g}, and was removed; update torch and executorch, then export again."
            )
        raise GanletError(
            f"{path} drew {psnr} from the {stage.name} it was made from, expected at least {least_psnr_db:g} dB, and "
            "was removed; train the generator longer, or export it with --precision fp32."
        )
