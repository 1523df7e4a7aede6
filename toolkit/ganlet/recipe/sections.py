"""The sections of a recipe. Typed, closed, frozen; defaults stand here and nowhere else."""

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ganlet.models.config import DEFAULT_FAMILY, CriticNetwork, Network
from ganlet.section import Section

Loss = Literal["minimax", "non-saturating", "least-squares", "hinge", "wgan-gp"]
Augmentation = Literal["color", "translation", "cutout"]
Target = Literal["onnx", "onnx-fp16", "onnx-int8", "trt-rtx", "tensorrt", "executorch", "executorch-int8", "web"]
Positive = Annotated[int, Field(ge=1, le=10**12)]  # more pictures or steps than any training takes
Weight = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]

Importance = Literal["strength", "magnitude", "batch-norm", "group-norm", "diversity"]


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(values):
        raise ValueError("the first value must not be above the second")
    return values


def _folder_name(name: str) -> str:
    is_plain = all(letter.isalnum() or letter in "._-" or unicodedata.combining(letter) for letter in name)
    if not (is_plain and name[:1].isalnum() and len(name.encode()) <= MOST_NAME_BYTES):
        raise ValueError(
            f"a run's name is that of its folder: letters and digits of any alphabet, then also . _ and -, at most "
            f"{MOST_NAME_BYTES} bytes"
        )
    return name


Above0 = Annotated[float, Field(gt=0)]
PositiveSpan = Annotated[tuple[Above0, Above0], AfterValidator(_rising)]

MOST_NAME_BYTES = 128


class Run(Section):
    name: Annotated[str, AfterValidator(_folder_name)]
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
    accumulate: Annotated[int, Field(ge=1, le=1024)] = 1
    """Parts into which a batch is cut to save memory; gradients add up over them (batch norms and `relation` see a part
    at a time)."""
    n_critic: Annotated[int, Field(ge=1, le=100)] = 1
    """Critic updates per generator update."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay per step of the averaged generator, ramped up as (1 + step) / (10 + step); 0 switches it off."""
    augment: tuple[Augmentation, ...] = ()
    """Differentiable augmentation of everything that the critic sees: for small students, whose kept critic tells them
    at once without, and for fewer than some thousand pictures."""
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
    evaluate_steps: Annotated[int, Field(ge=0)] = 0
    """Steps between measurements of the distance to the training pictures, which keep the best generator; 0: none."""
    evaluate_samples: Annotated[int, Field(ge=50, le=100_000)] = 1000
    """Pictures on each side of such a measurement."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Measurements without a better one after which training stops; 0: it never stops early."""

    @property
    def steps(self) -> int:
        """Generator updates in all."""
        return max(1, self.images // (self.batch * self.n_critic))


class Teacher(Network):
    """The keys of [teacher] that every family has; `networks.teacher_section` adds those of a family."""

    family: str = DEFAULT_FAMILY
    """What kind of networks generator and critic are."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 100
    """Numbers in a latent z."""
    classes: Annotated[int, Field(ge=2, le=2**16)] | None = None
    """Classes of the pictures, which the generator is then asked for by a label; none unless told."""
    loss: Loss = "non-saturating"
    critic: CriticNetwork
    train: Train = Train()


class AutoFreeze(Section):
    """How many layers to freeze where that is "auto": short runs, each with its memory and its distance."""

    images: Positive = 16_000
    """Real pictures of each short run, in place of transfer.train.images."""
    samples: Annotated[int, Field(ge=50, le=100_000)] = 1000
    """Pictures on each side of a distance, which is to the training pictures: the held-out ones are the verdict's."""
    tolerance_percent: Weight = 5.0
    """The most layers are frozen whose distance is not measurably more than this above the best one."""
    memory_mib: Annotated[float, Field(gt=0)] | None = None
    """Forecast peak of tensor memory that no run may exceed, the short ones neither; budget.training_memory_mib counts
    as well."""


Layers = Annotated[int, Field(ge=0)] | Literal["auto"]
Share = Annotated[float, Field(gt=0, lt=1)]


class Transfer(Section):
    source_run: str = Field(alias="from")
    """Run or stage folder whose generator and critic are trained on with this recipe's data."""
    freeze_generator: Layers = 2
    """Generator layers, counted from the latent, that stay as they are; auto tries all numbers."""
    freeze_critic: Layers = 4
    """Critic layers, counted from the picture, that stay as they are; auto tries all numbers."""
    auto: AutoFreeze = AutoFreeze()
    unfreeze: Annotated[tuple[Share, ...], AfterValidator(_rising)] = ()
    """Shares of the steps after which one more frozen layer of each network learns, next to those that learn first."""
    loss: Loss = "non-saturating"
    train: Train = Train()

    @property
    def is_searched(self) -> bool:
        return "auto" in (self.freeze_generator, self.freeze_critic)


class Search(Section):
    """`ganlet search`: the students that are tried, around the one of [distill]. Equal ends fix a value."""

    trials: Positive = 40
    """Students tried in all; the same command with more of them goes on."""
    images: Positive = 48_000
    """Real pictures of the longest proxy run of a trial, in place of distill.train.images."""
    rungs: Annotated[int, Field(ge=1, le=6)] = 3
    """Proxy runs of a trial, from the shortest on; it stops at the first at which it is hopeless."""
    reduction: Annotated[int, Field(ge=2, le=10)] = 3
    """How many times shorter each run is than the next, and what part of the trials is let through for sure."""
    seeds: Annotated[int, Field(ge=1, le=20)] = 1
    """Longest runs of a trial, of run.seed and the next seeds; their distances are averaged."""
    samples: Annotated[int, Field(ge=50, le=100_000)] = 1000
    """Pictures on each side of a distance, which is to the training pictures: the held-out ones are the verdict's."""
    widths: PositiveSpan = (0.4, 1.6)
    """Multiples of each of distill.widths, every layer its own."""
    round_to: Annotated[int, Field(ge=1, le=256)] = 4
    """Widths are multiples of this."""
    alpha: Annotated[tuple[Fraction, Fraction], AfterValidator(_rising)] = (0.01, 0.3)
    lr: Annotated[tuple[LearningRate, LearningRate], AfterValidator(_rising)] = (2e-4, 2e-3)
    features: Annotated[tuple[Weight, Weight], AfterValidator(_rising)] = (0.1, 30.0)
    pixel: Annotated[tuple[Literal["mse", "l1"], ...], Field(min_length=1)] = ("mse", "l1")
    init: Annotated[tuple[Literal["random", "teacher"], ...], Field(min_length=1)] = ("random", "teacher")

    def images_at(self, rung: int) -> int:
        """Real pictures of the proxy run of rung 0 ... rungs - 1."""
        return max(1, int(self.images // self.reduction ** (self.rungs - 1 - rung)))


class Export(Section):
    targets: tuple[Target, ...] = ("onnx",)
    """What is made of the last stage's generator, besides generator.onnx, which every run has."""
    gpus: tuple[str, ...] = ()
    """Cards and boards that engines are built for, by name, such as gtx-1660-ti."""


class Verify(Section):
    features: Literal["lite0", "inception", "inception_clean"] = "lite0"
    """Feature net of the distances; inception is the original FID's and needs its weights (extra fid)."""
    samples: Annotated[int, Field(ge=50, le=100_000)] = 2000
    max_drop_percent: Annotated[float, Field(ge=0)] = 15.0
    """How much larger the student's Frechet distance to the data may be than its teacher's."""
    parity_max_abs: Annotated[float, Field(gt=0)] = 1e-4
    """Largest difference between a pixel of the exported file and of the network it was made from, range [-1, 1]."""
    parity_fp16_max_abs: Annotated[float, Field(gt=0)] = 0.1
    """The same of an fp16 file."""
    parity_fp16_psnr_db: Annotated[float, Field(gt=0)] = 50.0
    """Least peak signal-to-noise ratio of an fp16 file's pictures against the network's."""
    parity_int8_psnr_db: Annotated[float, Field(gt=0)] = 38.0
    """The same of an int8 file: at 38 dB pixels differ by 3.2 of 255 levels, root mean square."""
    quantised_max_drop_percent: Annotated[float, Field(ge=0)] = 5.0
    """How much larger the Frechet distance to the data of an fp16 or int8 file may be than that of generator.onnx."""


class Budget(Section):
    training_memory_mib: Annotated[float, Field(gt=0)] | None = None
    """Peak of tensor memory of any training stage of this run."""
    model_mb: Annotated[float, Field(gt=0)] | None = None
    """Size of generator.onnx."""
    inference_memory_mib: Annotated[float, Field(gt=0)] | None = None
    """Peak of a fresh process that samples from generator.onnx, all libraries included."""
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Median time of one picture on this machine's processor."""
