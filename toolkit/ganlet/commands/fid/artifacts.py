"""The sampler of an artifact: an exported file, the folder of a run, or that of one stage."""

from pathlib import Path

from ganlet.artifact import STAGES, find_stage, is_stage
from ganlet.device import Sampler
from ganlet.device.open import RUNNERS
from ganlet.errors import GanletError
from ganlet.files import sha256_file

ONNX = "generator.onnx"


def is_artifact(path: Path) -> bool:
    """Whether `path` is a generator rather than pictures; says nothing of whether it works."""
    if path.suffix.lower() in RUNNERS and not path.is_dir():
        return True
    return (path / ONNX).is_file() or any(is_stage(folder) for folder in (path, *(path / name for name in STAGES)))


def open_sampler(path: Path, *, provider: str = "auto", threads: int | None = None, profile: str = "fast") -> Sampler:
    """The sampler of `path`; needs no torch for an .onnx file or a run that was exported.

    `provider`, `threads` and `profile` as for `ganlet.device.open.open_runner`; a stage that is not exported is drawn
    by torch, which takes none of them. Raises GanletError when there is no generator, or none that works here so.
    """
    return _open(path, provider, threads, profile)[0]


def open_identified(path: Path) -> tuple[Sampler, str]:
    """The sampler of `path`, and the hex SHA-256 of the weights that it draws with."""
    sampler, file = _open(path)
    return sampler, sha256_file(file) if isinstance(file, Path) else file


def _open(
    path: Path, provider: str = "auto", threads: int | None = None, profile: str = "fast"
) -> tuple[Sampler, Path | str]:
    file = path / ONNX if path.is_dir() else path
    if file.is_file() or not path.is_dir():
        return Sampler(file, provider=provider, threads=threads, profile=profile), file
    stage = find_stage(path)
    if (provider, threads, profile) != ("auto", None, "fast"):
        raise GanletError(
            f"{path} is not exported yet and torch draws from it, which takes no provider, threads or profile; make an "
            f"exported file with `ganlet export {path}`, or leave the options out."
        )
    try:
        from ganlet.verify.torch_runner import TorchRunner
    except ImportError as error:
        raise GanletError(
            f'{path} is not exported yet and drawing from it needs torch: `pip install "ganlet[train]"`, or '
            "give an .onnx file."
        ) from error
    return Sampler.of(TorchRunner.of_stage(stage)), stage.weights_sha256
