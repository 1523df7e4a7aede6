"""The recipe: one TOML file that says everything about a job. Typed, closed, frozen; every fault is listed at once.

Defaults stand here and nowhere else. A cross-section rule (sizes that must fit each other) is a line of `_contradictions`.
"""

import difflib
import hashlib
import json
import math
import tomllib
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ganlet.errors import GanletError
from ganlet.files import write_text

Loss = Literal["minimax", "non-saturating", "least-squares", "hinge", "wgan-gp"]
Norm = Literal["batch", "instance", "none"]
Positive = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=8)]
Fraction = Annotated[float, Field(ge=0, le=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]

FIRST_SIZE_PX = 4  # the first generator layer makes 4 x 4 pixels from the latent, the critic's last layer reads 4 x 4


class Section(BaseModel):
    """A closed, frozen table of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class Run(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Name of the run: its folder is exported/NAME."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Everything drawn comes from this number: weights, latents, batches, augmentation."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    """auto takes the first CUDA card, else the processor."""
    threads: Positive | None = None
    """Processor threads; all cores unless told. Bit-equal results need the same number."""


class Data(Section):
    source: Literal["kittens", "monsters", "robots", "digits", "folder", "idx"]
    path: str | None = None
    """Picture folder, or idx file, for those two sources; relative to where the command runs."""
    size: Annotated[int, Field(ge=16, le=256)] = 32
    """Height and width in pixels."""
    channels: Literal[1, 3] = 3
    crop: Literal["center", "landmarks", "none"] = "center"
    flip: bool = False
    """Mirror each picture left to right with probability one half."""
    skip_bad: bool = False
    """Go on without pictures that cannot be read, and count them."""
    count: Positive = 10_000
    """How many pictures an embedded source draws; folders are always read whole."""
    holdout: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    """Part of the pictures that training never sees and verification compares with."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Which pictures an embedded source draws, and which are held out; apart from run.seed, so that runs compare."""


class Train(Section):
    images: Positive = 100_000
    """Real pictures shown to the critic in all."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 32
    lr: LearningRate = 2e-4
    """Adam's learning rate of the generator."""
    lr_critic: LearningRate | None = None
    """Adam's learning rate of the critic (two time scales); the generator's unless told."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.99)
    decay: Fraction = 0.0
    """Last part of training over which both learning rates fall linearly to zero."""
    n_critic: Annotated[int, Field(ge=1, le=100)] = 1
    """Critic updates per generator update."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay per step of the averaged generator, ramped up as (1 + step) / (10 + step); 0 switches it off."""
    augment: tuple[Literal["color", "translation", "cutout"], ...] = ()
    """Differentiable augmentation of everything that the critic sees: for fewer than some thousand pictures."""
    amp: Literal["off", "fp16", "bf16"] = "off"
    """Mixed precision, on CUDA only."""
    gradient_penalty: Annotated[float, Field(ge=0)] = 10.0
    """lambda of WGAN-GP."""
    real_label_low: Annotated[float, Field(gt=0, le=1)] = 1.0
    """One-sided label smoothing: real targets are drawn from [this, 1]; 0.8 is usual, 1 switches it off."""
    checkpoint_steps: Positive = 250
    progress_steps: Positive = 250
    """Steps between pictures of the six fixed latents."""
    log_steps: Positive = 25

    @property
    def steps(self) -> int:
        """Generator updates in all."""
        return max(1, self.images // (self.batch * self.n_critic))


class Critic(Section):
    widths: Widths
    """Channels after each strided convolution; each halves the picture."""
    norm: Norm = "none"
    spectral: bool = True
    """Spectral normalisation of every convolution."""


class Network(Section):
    """What a generator is: its widths, and nothing hidden."""

    widths: Widths
    """Channels after each transposed convolution but the last, which makes the colours."""
    strides: tuple[Annotated[int, Field(ge=1, le=8)], ...] | None = None
    """Upsampling of each layer after the first (one per width): 2 each unless told."""
    kernels: tuple[Annotated[int, Field(ge=1, le=32)], ...] | None = None
    """Kernel of each layer after the first: twice its stride unless told; kernel - stride must be even."""
    norm: Norm = "batch"
    spectral: bool = False

    @property
    def all_strides(self) -> tuple[int, ...]:
        return self.strides or (2,) * len(self.widths)

    @property
    def all_kernels(self) -> tuple[int, ...]:
        return self.kernels or tuple(2 * stride for stride in self.all_strides)

    @property
    def size_px(self) -> int:
        return FIRST_SIZE_PX * math.prod(self.all_strides)


class Teacher(Network):
    family: Literal["dcgan"] = "dcgan"
    latent: Annotated[int, Field(ge=1, le=4096)] = 100
    """Numbers in a latent z."""
    loss: Loss = "non-saturating"
    critic: Critic
    train: Train = Train()


class Transfer(Section):
    source_run: str = Field(alias="from")
    """Run or stage folder whose generator and critic are trained on with this recipe's data."""
    freeze_generator: Annotated[int, Field(ge=0)] = 2
    """Generator layers, counted from the latent, that stay as they are."""
    freeze_critic: Annotated[int, Field(ge=0)] = 4
    """Critic layers, counted from the picture, that stay as they are."""
    loss: Loss = "non-saturating"
    train: Train = Train()


class Distill(Network):
    teacher_run: str | None = Field(default=None, alias="from")
    """Run or stage folder of the teacher; the teacher of this recipe unless told."""
    alpha: Fraction = 0.05
    """Joint loss: alpha x adversarial + (1 - alpha) x (pixel term + features x feature term)."""
    pixel: Literal["mse", "l1"] = "mse"
    """Distance between the student's and the teacher's picture of the same latent."""
    features: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the L1 distance between critic features of both pictures, relative to the pixel term."""
    init: Literal["random", "teacher"] = "random"
    """teacher starts from its strongest channels; its layers have to have the student's strides and kernels."""
    critic: Literal["teacher"] | Critic
    """teacher keeps the teacher's critic and trains it on; a table makes a fresh one."""
    loss: Loss = "non-saturating"
    train: Train = Train()


class Export(Section):
    targets: tuple[Literal["onnx"], ...] = ("onnx",)


class Verify(Section):
    features: Literal["lite0"] = "lite0"
    """Feature net of the distances."""
    samples: Annotated[int, Field(ge=50, le=100_000)] = 2000
    max_drop_percent: Annotated[float, Field(ge=0)] = 15.0
    """How much larger the student's Frechet distance to the data may be than its teacher's."""
    parity_max_abs: Annotated[float, Field(gt=0)] = 1e-4
    """Largest difference between a pixel of the exported file and of the network it was made from, range [-1, 1]."""


class Budget(Section):
    training_memory_mib: Annotated[float, Field(gt=0)] | None = None
    """Peak of tensor memory of any training stage of this run."""
    model_mb: Annotated[float, Field(gt=0)] | None = None
    """Size of generator.onnx."""
    inference_memory_mib: Annotated[float, Field(gt=0)] | None = None
    """Peak of a fresh process that samples from generator.onnx, all libraries included."""
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Median time of one picture on this machine's processor."""


class Recipe(Section):
    run: Run
    data: Data
    teacher: Teacher | None = None
    transfer: Transfer | None = None
    distill: Distill | None = None
    export: Export = Export()
    verify: Verify = Verify()
    budget: Budget = Budget()

    @property
    def sha256(self) -> str:
        """Hash of every value, defaults included, but for the name and the device of the run."""
        return self.key("data", "teacher", "transfer", "distill", "export", "verify", "budget")

    def key(self, *sections: str, **more: str) -> str:
        """SHA-256 of the named sections, the seed and `more`: what a stage depends on.

        Left out is what changes no result: where the pictures lie (their content counts) and how often to write.
        """
        values = self.model_dump(mode="json", by_alias=True)
        values["data"].pop("path")
        for section in ("teacher", "transfer", "distill"):
            for name in ("checkpoint_steps", "progress_steps", "log_steps"):
                (values[section] or {"train": {}})["train"].pop(name, None)
        chosen = {name: values[name] for name in sections} | more | {"seed": self.run.seed, "threads": self.run.threads}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


# ---------------------------------------------------------------- reading and writing


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe and apply `a.b=value` overrides (values in TOML, bare words as strings).

    Raises GanletError naming every fault of the file at once.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GanletError(
            f"Recipe {path} does not exist; give the path of a .toml file, such as those in recipes/."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise GanletError(f"Recipe {path} cannot be read ({error}); give a readable UTF-8 .toml file.") from error
    except tomllib.TOMLDecodeError as error:
        raise GanletError(f"Recipe {path} is not valid TOML: {error}; mend that line.") from error
    for override in overrides:
        _override(tables, override)
    return parse_recipe(tables, str(path))


def parse_recipe(tables: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Check tables (as TOML gives them) and build the recipe. Raises GanletError with all faults, a line each."""
    sections: dict[str, Any] = {}
    faults = [
        f"{name}: unknown section{_nearest(name, _keys(Recipe))}" for name in tables if name not in Recipe.model_fields
    ]
    for name, field in Recipe.model_fields.items():
        if name not in tables:
            if field.is_required():
                faults.append(f"{name}: this section is missing")
            continue
        try:
            sections[name] = _validate(field.annotation, tables[name])
        except ValidationError as error:
            found = error.errors(include_url=False)
            faults += [_sentence(name, field.annotation, fault) for fault in found]
            if all(fault["type"] == "extra_forbidden" for fault in found):  # judge the sizes all the same
                sections[name] = _validate(field.annotation, _without(tables[name], [fault["loc"] for fault in found]))
    faults += _contradictions(sections)
    if faults:
        listed = "\n  ".join(dict.fromkeys(faults))
        raise GanletError(
            f"Recipe {origin} has {len(faults)} fault{'s' * (len(faults) > 1)}; mend each and run again:\n  {listed}"
        )
    return Recipe(**sections)


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe as resolved, every default included, atomically."""
    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    write_text(path, tomli_w.dumps(values))


def _validate(annotation: Any, table: Any) -> Any:
    """Strict validation through JSON: lists become tuples, but "32" is no number and 1 is no truth value."""
    return TypeAdapter(annotation).validate_json(json.dumps(table, default=str), strict=True)


def _without(table: Any, places: Sequence[tuple[Any, ...]]) -> Any:
    """A copy of `table` without the keys at `places`."""
    copied = json.loads(json.dumps(table, default=str))
    for place in places:
        *parents, last = _in_table(place)
        branch = copied
        for parent in parents:
            branch = branch[parent]
        del branch[last]
    return copied


def _in_table(place: Sequence[Any]) -> list[Any]:
    """A fault's place as keys of the TOML: without the names that pydantic adds for the members of a union."""
    return [part for part in place if part not in ("Critic", "literal['teacher']")]


def _override(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise GanletError(
            f"--set {override!r} is not of the form section.key=value, such as --set teacher.train.batch=16."
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = tables
    for name in names[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise GanletError(f"--set {override!r}: {name} is not a section of the recipe but a value; check the key.")
    table[names[-1]] = value


# ---------------------------------------------------------------- faults


def _contradictions(sections: dict[str, Any]) -> Iterator[str]:
    """Faults between values that are each valid alone; sections that did not parse are left out."""
    data: Data | None = sections.get("data")
    teacher: Teacher | None = sections.get("teacher")
    distill: Distill | None = sections.get("distill")
    transfer: Transfer | None = sections.get("transfer")
    if data is not None:
        if data.source in ("folder", "idx") and not data.path:
            yield f'data.path: source = "{data.source}" needs the path of the pictures'
        if data.source not in ("folder", "idx") and data.path:
            yield f'data.path: source = "{data.source}" is embedded and takes no path; remove it, or set source = "folder"'
        if data.crop == "landmarks" and data.source != "folder":
            yield f'data.crop: landmarks need source = "folder", got "{data.source}"'
    for name, network in (("teacher", teacher), ("distill", distill)):
        if network is not None:
            yield from _network_faults(name, network, data)
    if not {"teacher", "transfer", "distill"} & sections.keys():
        yield "recipe: there is nothing to do; give a [teacher], a [transfer] or a [distill] section"
    if transfer is not None and teacher is not None:
        yield "transfer: takes its networks from another run, so [teacher] has no use here; remove one of the two"
    if distill is not None and distill.teacher_run and (teacher is not None or transfer is not None):
        yield "distill.from: this recipe trains its own teacher; remove distill.from, or [teacher] and [transfer]"
    if (
        distill is not None
        and not (distill.teacher_run or teacher or transfer)
        and not {"teacher", "transfer"} & sections.keys()
    ):
        yield "distill.from: there is no [teacher] or [transfer] here to distil; name a run"
    for name, stage in (("teacher", teacher), ("transfer", transfer), ("distill", distill)):
        if stage is not None and stage.loss == "wgan-gp" and _critic_norm(stage) == "batch":
            yield f"{name}.critic.norm: batch normalisation mixes samples and is not valid under a gradient penalty; use instance"
        if stage is not None and stage.train.amp != "off" and stage.loss == "wgan-gp":
            yield f"{name}.train.amp: mixed precision is not supported under a gradient penalty; set it to off"


def _network_faults(name: str, network: Network, data: Data | None) -> Iterator[str]:
    depth = len(network.widths)
    for key, values in (("strides", network.strides), ("kernels", network.kernels)):
        if values is not None and len(values) != depth:
            yield f"{name}.{key}: {len(values)} values for {depth} widths; give one for each"
            return
    for kernel, stride in zip(network.all_kernels, network.all_strides, strict=True):
        if kernel < stride or (kernel - stride) % 2:
            yield f"{name}.kernels: kernel {kernel} with stride {stride} cannot scale exactly; kernel - stride must be even and >= 0"
    if data is not None and network.size_px != data.size:
        strides = " x ".join(map(str, network.all_strides))
        yield f"{name}.widths: {depth} widths make {FIRST_SIZE_PX} x {strides} = {network.size_px} pixels, but data.size = {data.size}"
    critic = getattr(network, "critic", None)
    if data is not None and isinstance(critic, Critic) and FIRST_SIZE_PX * 2 ** len(critic.widths) != data.size:
        got = FIRST_SIZE_PX * 2 ** len(critic.widths)
        yield f"{name}.critic.widths: {len(critic.widths)} widths read {got} pixels, but data.size = {data.size}"


def _critic_norm(stage: Any) -> str | None:
    critic = getattr(stage, "critic", None)
    return critic.norm if isinstance(critic, Critic) else None


def _sentence(section: str, annotation: Any, fault: Any) -> str:
    """One line for one of pydantic's faults: path, what is wrong, what was got, the nearest valid key."""
    place = _in_table(fault["loc"])
    path = ".".join(str(part) for part in [section, *place])
    if fault["type"] == "extra_forbidden":
        return f"{path}: unknown key{_nearest(str(place[-1]), _keys(_model_at(annotation, place[:-1])))}"
    if fault["type"] == "missing":
        return f"{path}: this key is missing"
    return f"{path}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}"


def _model_at(annotation: Any, place: Sequence[Any]) -> type[BaseModel] | None:
    """The recipe class that stands at `place` below `annotation`."""
    model = next((kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    if model is None or not place:
        return model
    field = next((f for name, f in model.model_fields.items() if place[0] in (name, f.alias)), None)
    return _model_at(field.annotation, place[1:]) if field else None


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _nearest(word: str, valid: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; valid are {', '.join(valid)}" if valid else ""
