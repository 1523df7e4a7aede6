"""A stage's folder: config.json + safetensors + provenance + SHA-256. Stages meet here and nowhere else.

config.json is written last, so a folder with one is complete; everything that it lists is verified when it is loaded.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganlet import __version__
from ganlet.errors import GanletError, words_of
from ganlet.files import atomic_path, is_utf8, sha256_file, write_json
from ganlet.own_files import MANIFEST, STAGE, is_own, read_own

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
CONFIG = "config.json"
GENERATOR = "weights.safetensors"
CRITIC = "critic.safetensors"
FORECAST = "forecast.json"  # what training was to take of memory, written before it began


@dataclass(frozen=True)
class StageKind:
    """One kind of stage: its folder's `name`, the recipe's `section` that asks for it, the `command` that makes it."""

    name: str
    section: str
    command: str

    @property
    def method(self) -> str | None:
        """Of a step of [[compress]], the method that its table names, which is the command's name too."""
        return self.command if self.section == "compress" else None

    @property
    def asked_by(self) -> str:
        """What a recipe has where it asks for this stage, in words."""
        return f'[[compress]] section with method = "{self.method}"' if self.method else f"[{self.section}] section"


STAGE_KINDS = {
    kind.name: kind
    for kind in (
        StageKind("teacher", "teacher", "train"),
        StageKind("transfer", "transfer", "transfer"),
        StageKind("student", "distill", "distill"),
        StageKind("pruned", "compress", "prune"),
        StageKind("quantized", "compress", "quantize"),
    )
}
"""Every kind of stage by its name, in the order in which they follow each other. The one table of them."""
STAGES = tuple(STAGE_KINDS)
STAGE_OF_STEP = {kind.method: name for name, kind in STAGE_KINDS.items() if kind.method is not None}
"""A step of [[compress]] by its method -> the stage that it makes."""
TRAINED_SECTIONS = tuple(kind.section for kind in STAGE_KINDS.values() if kind.method is None)
"""The sections of a recipe that train a stage, in their order."""


@dataclass(frozen=True)
class Stage:
    """A complete stage on disk. `config` is the content of config.json."""

    folder: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.config["stage"])

    @property
    def key(self) -> str:
        """What the stage was made from; equal keys mean that it need not be made again."""
        return str(self.config["provenance"]["key"])

    @property
    def weights_sha256(self) -> str:
        return str(self.config["files"][GENERATOR]["sha256"])

    @property
    def as_input(self) -> dict[str, str]:
        """The networks by their hashes, for the key of a stage that is made of this one."""
        files = self.config["files"]
        critic = {"source_critic": str(files[CRITIC]["sha256"])} if CRITIC in files else {}
        return {"source": self.weights_sha256} | critic

    def as_source(self) -> dict[str, Any]:
        """What the manifest says of a file that was made of this stage."""
        return {"made_from": {"stage": self.name, "weights_sha256": self.weights_sha256}}

    @property
    def training(self) -> dict[str, Any]:
        """steps, images, seconds, peak_memory_mib, predicted_memory_mib; empty for an imported stage."""
        return dict(self.config.get("training", {}))

    def tensors(self, name: str = GENERATOR) -> "dict[str, Tensor]":
        """The tensors of one file of the stage, after its size and hash were found to be right."""
        expected = self.config["files"].get(name)
        path = self.folder / name
        if expected is None:
            raise GanletError(
                f"{self.folder} holds no {name}; this stage was made without a critic, train one instead."
            )
        if not path.is_file():
            raise GanletError(f"{path} is missing although {CONFIG} lists it; restore it or run the stage again.")
        if path.stat().st_size != expected["bytes"] or sha256_file(path) != expected["sha256"]:
            raise GanletError(
                f"{path} was changed or cut short after it was made: it has {path.stat().st_size} bytes and another "
                f"SHA-256, expected {expected['bytes']} bytes; restore it, or delete {self.folder} and run again."
            )
        return read_tensors(path)


def save_stage(
    folder: Path,
    *,
    stage: str,
    networks: Mapping[str, "tuple[str, dict[str, Any], Mapping[str, Tensor]]"],
    provenance: dict[str, Any],
    training: dict[str, Any],
) -> Stage:
    """Write a stage. `networks` maps "generator" / "critic" to (file name, config, state dict)."""
    files: dict[str, dict[str, Any]] = {}
    for file_name, _, tensors in networks.values():
        write_tensors(folder / file_name, tensors)
        files[file_name] = describe_file(folder / file_name)
    config = {
        "schema": SCHEMA,
        "stage": stage,
        **{role: network for role, (_, network, _) in networks.items()},
        "files": files,
        "training": training,
        "provenance": provenance | {"versions": versions()},
    }
    write_json(folder / CONFIG, config)
    return Stage(folder, config)


def is_stage(folder: Path) -> bool:
    """Whether a finished stage lies in `folder`: its config.json is one of Ganlet's, whole or damaged."""
    return is_own(folder / CONFIG, STAGE)


_KINDS = {
    (".toml",): "is a recipe",
    (".onnx", ".pte", ".engine", ".xml"): "is an exported file",
    (".zip",): "is a zip archive",
    (".npz",): "is a file of arrays",
    (".pt", ".pth", ".safetensors"): "is a file of weights",
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"): "is a picture",
}
"""Suffixes of files -> what they are where something else was expected."""


def what_lies_at(path: Path) -> str:
    """ "does not exist", "is a recipe", "is the folder of one stage", ...: what a sentence says that it got."""
    try:
        if path.is_file():
            suffix = path.suffix.lower()
            return next((kind for suffixes, kind in _KINDS.items() if suffix in suffixes), "is a file")
        if not path.exists():
            return "does not exist"
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        return f"cannot be looked at ({words_of(error)})"
    if is_stage(path):
        return "is the folder of one stage"
    if any(is_stage(path / name) for name in names & set(STAGES)):
        return "is the folder of a run"
    if names & set(STAGES) and "recipe.toml" in names:
        return "is the folder of a run none of whose stages is finished"
    pictures = next(suffixes for suffixes, kind in _KINDS.items() if kind == "is a picture")
    if any(Path(name).suffix.lower() in pictures for name in names):
        return "is a folder of pictures"
    return "is a folder without a run" if names else "is an empty folder"


def require_run(path: Path) -> None:
    """Raise GanletError, with what `path` is instead, unless it is a folder that holds a run's recipe."""
    if path.is_dir() and (path / "recipe.toml").is_file():
        return
    kind = what_lies_at(path)
    remedy = {
        "is a recipe": f"make its run with `ganlet run {path}`",
        "is an exported file": f"check this one file with `ganlet verify --artifact {path}`",
        "is the folder of one stage": f"give the run, {path.parent}",
        "is the folder of a run": f"its recipe.toml is missing, put it back or run its recipe again with --out {path}",
    }.get(kind, "give one such as those in exported/")
    raise GanletError(f"{path} {kind}, expected the folder of a run; {remedy}.")


def load_stage(folder: Path) -> Stage:
    """Read a stage's folder. Raises GanletError when it is missing, unfinished, damaged or of another schema."""
    if not folder.is_dir():
        raise GanletError(
            f"{folder} {what_lies_at(folder)}; expected the folder of a trained stage, make it with `ganlet run`."
        )
    if not (folder / CONFIG).is_file():
        raise GanletError(
            f"{folder} has no {CONFIG}: the stage is not finished; run the same command again to finish it."
        )
    config = read_own(folder / CONFIG, STAGE)
    if config is None:
        raise GanletError(
            f"{folder / CONFIG} is not a stage of schema {SCHEMA} but of another program; check the path."
        )
    wanted = {"stage": str, "generator": dict, "files": dict, "provenance": dict}
    if (
        not all(isinstance(config.get(key), kind) for key, kind in wanted.items())
        or config.get("schema") != SCHEMA
        or GENERATOR not in config["files"]
        or not all(
            isinstance(about, dict) and {"bytes", "sha256"} <= about.keys() for about in config["files"].values()
        )
        or not isinstance(config.get("training", {}), dict)
        or "key" not in config["provenance"]
    ):
        raise GanletError(
            f"{folder / CONFIG} is not a stage of schema {SCHEMA}; make it again with this version of Ganlet."
        )
    return Stage(folder, config)


def find_stage(path: Path) -> Stage:
    """The stage at `path`: a stage's folder, or of a run's folder the last complete stage."""
    if is_stage(path):
        return load_stage(path)
    complete = [path / name for name in STAGES if is_stage(path / name)]
    if not complete:
        kind = what_lies_at(path)
        recipe = str(path) if kind == "is a recipe" else "RECIPE"
        remedy = f"make one with `ganlet run {recipe}`"
        if kind == "is an exported file":
            remedy = "give the run or the stage that it was exported from"
        raise GanletError(f"{path} holds no trained stage ({', '.join(STAGES)}): it {kind}; {remedy}.")
    return load_stage(complete[-1])


def stages_of(run: Path) -> dict[str, Stage]:
    """All complete stages of a run by name, in order."""
    return {name: load_stage(run / name) for name in STAGES if is_stage(run / name)}


# ---------------------------------------------------------------- tensors


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Write tensors as safetensors, atomically."""
    with atomic_path(path) as temporary:
        save_tensors(temporary, tensors)


def save_tensors(path: Path, tensors: "Mapping[str, Tensor]", note: str | None = None) -> None:
    """Write tensors to `path` as it stands. `note` is stored with them (one key: more have no fixed order)."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, path, metadata={"ganlet": note} if note is not None else None)
    except SafetensorError as error:  # what a full disk becomes
        raise OSError(None, str(error)) from error


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Read a safetensors file to the processor. Raises GanletError when it is missing, damaged or another format."""
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        # safetensors opens no path that is not UTF-8.
        return dict(load_file(path) if is_utf8(path) else load(path.read_bytes()))
    except (SafetensorError, OSError) as error:
        raise GanletError(
            f"{path} is not a whole safetensors file ({words_of(error)}); expected weights written by Ganlet or "
            "another safetensors writer, restore it or make it again."
        ) from error


# ---------------------------------------------------------------- manifest and provenance


def describe_file(path: Path) -> dict[str, Any]:
    """bytes and sha256 of a file, as config.json and manifest.json list them."""
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def add_to_manifest(run: Path, name: str, **about: Any) -> None:
    """List RUN/NAME in RUN/manifest.json with its bytes, its hash and `about`."""
    path = run / "manifest.json"
    manifest = _manifest(path)
    manifest["files"][name] = describe_file(run / name) | about
    manifest["files"] = dict(sorted(manifest["files"].items()))
    write_json(path, manifest)


def drop_from_manifest(run: Path, name: str) -> None:
    """Take RUN/NAME out of RUN/manifest.json, where it is listed."""
    manifest = _manifest(run / "manifest.json")
    if manifest["files"].pop(name, None) is not None:
        write_json(run / "manifest.json", manifest)


def is_listed_as(path: Path, about: dict[str, Any]) -> bool:
    """Whether the file at `path` is there as the manifest beside it lists it, with all of `about`."""
    if not path.is_file():
        return False
    wanted = describe_file(path) | about
    return wanted.items() <= manifest_entry(path.parent, path.name).items()


def manifest_entry(run: Path, name: str) -> dict[str, Any]:
    """What RUN/manifest.json says of one file, empty where nothing. Raises GanletError for a foreign manifest."""
    entry = _manifest(run / "manifest.json")["files"].get(name, {})
    return entry if isinstance(entry, dict) else {}


def listed_files(run: Path) -> list[str]:
    """Names of the files that RUN/manifest.json lists, in order."""
    return list(_manifest(run / "manifest.json")["files"])


def _manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"schema": SCHEMA, "files": {}}
    manifest = read_own(path, MANIFEST)
    if manifest is None:
        raise GanletError(
            f"{path} is of another program, but the manifest of a run has that name; move it away, or take another "
            "folder for the run."
        )
    return manifest


def versions() -> dict[str, str]:
    """Versions of what a result depends on; packages that are not installed are left out."""
    found = {"ganlet": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "safetensors", "pillow"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
