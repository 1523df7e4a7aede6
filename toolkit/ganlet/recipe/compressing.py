"""The sections of a recipe that make a generator smaller: distillation, and the steps of [[compress]]."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ganlet.models.config import DEFAULT_FAMILY, Count, CriticNetwork, Network
from ganlet.recipe.sections import (
    Augmentation,
    Fraction,
    Importance,
    LearningRate,
    Loss,
    Positive,
    Train,
    Weight,
)
from ganlet.section import Section


class Lessons(Section):
    """What a smaller generator is held to while a larger one teaches it."""

    alpha: Fraction = 0.05
    """Joint loss: alpha x adversarial + (1 - alpha) x distance, the sum of the terms below each times its weight."""
    alpha_end: Fraction | None = None
    """Where alpha ends, in a straight line over all steps; it is constant unless told."""
    pixel: Literal["mse", "l1", "none"] = "mse"
    """Distance between the student's and the teacher's picture of the same latent; its weight is 1."""
    features: Weight = 0.0
    """Weight of the L1 distance between critic features of both pictures."""
    perceptual: Weight = 0.0
    """Weight of a perceptual distance (AlexNet, extra `perceptual`), which is not the net that judges. It is slow: at
    32 x 32 pixels a step takes several times as long."""
    adapters: Weight = 0.0
    """Weight of the distance between hidden layers of both generators, the student's through 1 x 1 adapters."""
    relation: Weight = 0.0
    """Weight of the distance between how alike the pictures of a batch are, in hidden layers of both generators."""
    real_share: Fraction = 1.0
    """Part of the critic's real pictures that comes from the data; the rest are the teacher's."""
    gate: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    """Balance (how often a real picture scores above a student's) above which the critic's updates shrink, to none
    at 1; unless told they never do."""
    loss: Loss = "non-saturating"
    train: Train = Train()

    @property
    def end_alpha(self) -> float:
        return self.alpha if self.alpha_end is None else self.alpha_end

    @property
    def needs_critic(self) -> bool:
        """Whether any part of the loss asks the critic, so that it has to be trained along."""
        return bool(self.alpha or self.end_alpha or self.features)


class Distill(Network, Lessons):
    """The keys of [distill] that every family has; `networks.distill_section` adds those of a family."""

    family: str = DEFAULT_FAMILY
    """What kind of generator the student is; that of its teacher in this recipe unless told."""
    teacher_run: str | None = Field(default=None, alias="from")
    """Run or stage folder of the teacher; the teacher of this recipe unless told."""
    widths: Annotated[tuple[Count, ...], Field(max_length=8)] = ()
    """How wide each hidden layer is; either this or `width` is given."""
    width: Annotated[float, Field(gt=0, le=1)] | None = None
    """Every width as a fraction of the teacher's, whose family and shape the student then has."""
    init: Literal["random", "teacher"] = "random"
    """teacher starts from its most important channels, layer by layer where strides and kernels are the same."""
    importance: Importance = "strength"
    """Which channels of the teacher those are, as in [[compress]]."""
    critic: Literal["teacher"] | CriticNetwork
    """teacher keeps the teacher's critic and trains it on; a table makes a fresh one."""


class Tune(Lessons):
    """How a generator learns again what it was before a step of [[compress]]: by what it was, and with its critic."""

    pixel: Literal["mse", "l1", "none"] = "l1"


class RecoverTrain(Train):
    """Training of what has lost channels: as students learn best from the same teacher, with DiffAugment."""

    lr: LearningRate = 1e-3
    lr_critic: LearningRate | None = 8e-4
    decay: Fraction = 0.3
    augment: tuple[Augmentation, ...] = ("color", "translation")

    redefined: ClassVar[tuple[str, ...]] = ("lr", "lr_critic", "decay", "augment")


class Recover(Tune):
    """How a pruned generator learns again, its critic trained on."""

    alpha: Fraction = 0.2
    train: RecoverTrain = RecoverTrain()

    redefined: ClassVar[tuple[str, ...]] = ("alpha", "features")


class FineTrain(Train):
    """Training of what is nearly where it should be: a few small steps that end at zero. More of them, or larger ones,
    lead away from it; what int8 has badly hurt needs larger ones.
    """

    images: Positive = 16_000
    lr: LearningRate = 5e-6
    decay: Fraction = 0.7
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99


class Settle(Tune):
    """How a generator settles on weights that int8 holds better: by the pictures it drew in fp32, and nothing else."""

    alpha: Fraction = 0.0
    train: FineTrain = FineTrain()


class Prune(Section):
    """Whole channels are taken out of the last generator made before; the latent and the colours stay."""

    method: Literal["prune"]
    source_run: str | None = Field(default=None, alias="from")
    """Run or stage folder to prune; the last stage of this recipe unless told."""
    ratio: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Part of all channels to take out; about (1 - ratio)^2 of the parameters remain. This or target_mb."""
    target_mb: Annotated[float, Field(gt=0)] | None = None
    """Size of weights.safetensors to come below, by the least pruning that does."""
    importance: Importance = "diversity"
    """What a channel is judged by: `ganlet.compress.importance` has the formulas."""
    scope: Literal["global", "uniform"] = "global"
    """global ranks the channels of all layers together, uniform takes the same part of each layer."""
    round_to: Annotated[int, Field(ge=1, le=256)] = 8
    """Widths that change become multiples of this, where a layer has as many; runtimes like 4 and 8."""
    rounds: Annotated[int, Field(ge=1, le=20)] = 1
    """Cuts in equal steps of size, with fine-tuning after each; more than one need [compress.tune]."""
    tune: Recover | None = None
    """Fine-tuning after each cut; without it nothing is trained."""


class Quantize(Section):
    """The last generator made before is looked at in int8, and trained on as its int8 file draws where that is too far
    from fp32.
    """

    method: Literal["quantize"]
    source_run: str | None = Field(default=None, alias="from")
    """Run or stage folder to quantise; what this recipe made before unless told."""
    profile: Literal["cpu-int8", "trt-int8"] = "cpu-int8"
    """Which int8 file: that of ONNX Runtime, or that of TensorRT, all of whose activations are signed."""
    least_psnr_db: Annotated[float, Field(gt=0)] = 38.0
    """Peak signal-to-noise ratio of the int8 pictures against those of fp32 from which nothing is trained."""
    tune: Settle | None = None
    """Quantisation-aware fine-tuning below that; without it nothing is trained."""


Step = Annotated[Prune | Quantize, Field(discriminator="method")]
"""A table of [[compress]]."""
