"""What is to be measured: artifacts, the runtimes that may open each, and batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ganlet.artifact import GENERATOR, STAGES, is_stage
from ganlet.device.child import module_command
from ganlet.device.onnx_session import PROVIDERS, available_providers
from ganlet.device.open import RUNNERS, RUNTIMES
from ganlet.device.runtimes import load_onnxruntime
from ganlet.errors import GanletError

TORCH = "torch"
MATMUL_SIDE = 1024  # 2 GFLOP a product: tens of milliseconds on two cores, and large enough to be near the peak
_FIRST = "generator.onnx"  # which every other artifact of a run is compared with


@dataclass(frozen=True)
class Settings:
    """How it is measured. A round ends after `runs` calls, or after `round_seconds` once three calls are made."""

    batches: tuple[int, ...] = (1, 16)
    threads: int | None = None
    """None leaves the choice to every runtime."""
    runs: int = 20
    rounds: int = 6
    round_seconds: float = 2.0
    providers: tuple[str, ...] = ()
    """Of .onnx files: short or full names, as `open_runner` takes them; none: all that this machine has."""

    def __post_init__(self) -> None:
        wrong = [batch for batch in self.batches if batch < 1]
        if wrong or not self.batches:
            raise GanletError(f"Got a batch of {wrong[0] if wrong else 'nothing'}; expected 1 or more, such as 1,16.")
        if (self.threads is not None and self.threads < 1) or self.runs < 1 or self.rounds < 1:
            raise GanletError(
                f"Got {self.threads} threads, {self.runs} runs and {self.rounds} rounds; expected 1 or more of each."
            )


@dataclass(frozen=True)
class Subject:
    """One row: an artifact on a runtime at a batch. `command` starts its child."""

    name: str
    path: Path
    runtime: str
    batch: int
    command: tuple[str, ...]

    @property
    def label(self) -> str:
        """What tables call the artifact on its runtime, and what --compare takes."""
        return f"{self.name}@{self.runtime}"

    @property
    def file_bytes(self) -> int:
        """Of the artifact's files: the weights of a stage; an .xml has its weights in a .bin beside it."""
        files = [self.path / GENERATOR] if self.path.is_dir() else [self.path]
        if self.path.suffix == ".xml":
            files.append(self.path.with_suffix(".bin"))
        return sum(file.stat().st_size for file in files if file.is_file())


def parse_batches(text: str) -> tuple[int, ...]:
    """ "1,16" -> (1, 16), each once. Raises GanletError for anything but whole numbers between commas."""
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        raise GanletError(f"Got the batches {text!r}; expected whole numbers between commas, such as 1,16.") from None


def subjects_of(sources: Sequence[Path], settings: Settings) -> list[Subject]:
    """The rows: sources in order, of each its batches, of each its runtimes.

    A source is an artifact, a stage's folder, or a run, of which every artifact is taken and its stages where torch is
    installed. Raises GanletError when there is none, for a source that is none, and for a provider that none has.
    """
    if not sources:
        raise GanletError("Got nothing to measure; give artifacts, stages or runs, such as exported/kittens.")
    once: dict[Path, Path] = {}
    for source in sources:
        for path in _artifacts(Path(source)):
            once.setdefault(path.resolve(), path)
    artifacts = list(once.values())
    providers = _known(settings.providers)
    names = [path.name for path in artifacts]
    names = [path.name if names.count(path.name) == 1 else str(path) for path in artifacts]
    return [
        Subject(name, path, runtime, batch, _command(path, runtime, batch, settings.threads))
        for batch in settings.batches
        for name, path in zip(names, artifacts, strict=True)
        for runtime in _runtimes(path, providers)
    ]


def matmul_commands(threads: int | None) -> list[tuple[str, ...]]:
    """The children that measure this machine's peak of float32 matrix products: by numpy, and by torch if installed."""
    side = ("--matmul", str(MATMUL_SIDE))
    commands = [tuple(module_command("ganlet.device.rounds", *side))]
    if find_spec(TORCH) is not None:
        commands.append(tuple(module_command("ganlet.commands.bench.eager", *side, *_threads(threads))))
    return commands


def _artifacts(source: Path) -> list[Path]:
    if not source.exists():
        raise GanletError(f"{source} does not exist; give an artifact, a stage or a run, such as exported/kittens.")
    if not source.is_dir():
        if source.suffix.lower() not in RUNNERS:
            raise GanletError(f"{source} is no artifact; expected {', '.join(RUNNERS)}, a stage's folder or a run.")
        return [source]
    if is_stage(source):
        return [source]
    files = [*source.iterdir(), *(source / "engines").glob("*")]
    found = sorted((path for path in files if path.suffix.lower() in RUNNERS), key=lambda p: (p.name != _FIRST, p))
    if find_spec(TORCH) is not None:
        found += [source / stage for stage in STAGES if is_stage(source / stage)]
    if not found:
        raise GanletError(f"{source} holds no artifact ({', '.join(RUNNERS)}); make one with `ganlet export`.")
    return found


def _known(providers: tuple[str, ...]) -> tuple[str, ...]:
    """The providers, each once. Raises GanletError for one that no runtime here has, installed or not."""
    short = ["auto", *PROVIDERS, *(provider for _, provider in RUNTIMES)]
    for name in providers:
        if name not in {*short, *PROVIDERS.values(), *_listed()}:
            raise GanletError(f"There is no provider {name!r}; expected {', '.join(short)}, or a full name.")
    return tuple(dict.fromkeys(providers))


def _listed() -> list[str]:
    """Providers that ONNX Runtime lists here, whether or not they work; none without ONNX Runtime."""
    try:
        return available_providers(load_onnxruntime())
    except GanletError:  # each row will say what is wrong with it
        return []


def _runtimes(path: Path, providers: tuple[str, ...]) -> tuple[str, ...]:
    """What is to open an artifact; only an .onnx file leaves a choice."""
    if path.is_dir():
        return (TORCH,)
    suffix = path.suffix.lower()
    if suffix != ".onnx":
        return ("auto",)
    listed = _listed()
    here = [short for short, full in PROVIDERS.items() if full in listed]
    here += [name for kind, name in RUNTIMES if kind == suffix and find_spec(name) is not None]
    return providers or tuple(here) or ("auto",)


def _command(path: Path, runtime: str, batch: int, threads: int | None) -> tuple[str, ...]:
    words = [str(path.absolute()), "--batch", str(batch), *_threads(threads)]
    if path.is_dir():
        return tuple(module_command("ganlet.commands.bench.eager", *words))
    return tuple(module_command("ganlet.device.rounds", *words, "--provider", runtime))


def _threads(threads: int | None) -> tuple[str, ...]:
    return () if threads is None else ("--threads", str(threads))
