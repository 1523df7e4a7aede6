"""What describes the networks of any family: the keys that a recipe gives, and the configs that stages keep as JSON.

No module here imports torch: recipes are made of these classes. A family derives from each of the four.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from ganlet.section import Section

Norm = Literal["batch", "instance", "none"]
Count = Annotated[int, Field(ge=1, le=2**16)]
Widths = Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)]
DEFAULT_FAMILY = "dcgan"  # of a recipe or a config that names none


@dataclass(frozen=True)
class Ends:
    """What a generator takes and gives beside its network: numbers of its latent, its pictures, its classes."""

    latent: int
    size: int
    """Height and width of its pictures in pixels, as in [data]."""
    channels: Literal[1, 3]
    classes: int | None = None
    class_names: tuple[str, ...] = ()


class Network(Section):
    """The keys of a generator in [teacher] and [distill]."""

    widths: Widths
    """How wide each hidden layer is."""

    takes_labels: ClassVar[bool] = True
    """Whether generators of this family can be conditional."""
    shape_keys: ClassVar[tuple[str, ...]] = ("widths",)
    """The keys that a student takes from its teacher where distill.width is given."""

    def faults(self, size_px: int | None = None) -> Iterator[str]:
        """Yield "key: what is wrong" for keys that contradict each other, or pictures of `size_px` if that is known."""
        yield from ()

    @classmethod
    def size_hint(cls, size_px: int) -> str:
        """In words: the nearest size of pictures that networks of this family have; empty where any will do."""
        return ""

    @property
    def shape(self) -> dict[str, Any]:
        """The values of `shape_keys`."""
        return {key: getattr(self, key) for key in self.shape_keys}

    def narrowed(self, share: float) -> Self:
        """The same network with every width multiplied by `share`, at least 1."""
        return self.with_widths(tuple(max(1, round(share * width)) for width in self.widths))

    def with_widths(self, widths: tuple[int, ...]) -> Self:
        """The same network with these widths."""
        return type(self).model_validate(self.model_dump(by_alias=True) | {"widths": widths})


class CriticNetwork(Section):
    """The keys of a critic in [teacher.critic] and [distill.critic]."""

    widths: Widths
    """How wide each hidden layer is."""

    @property
    def mixes_samples(self) -> bool:
        """Whether a picture's score depends on the others of its batch, which no gradient penalty allows."""
        return False

    def faults(self, size_px: int | None = None) -> Iterator[str]:
        """Yield "key: what is wrong", as `Network.faults`."""
        yield from ()


class GeneratorConfig(Network):
    """All that is needed to rebuild a generator. As JSON it stands in a stage's config.json."""

    family: str
    latent: Count
    channels: Literal[1, 3]
    classes: Count | None = None
    """Of a conditional generator, which takes a label."""
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, network: Network, ends: Ends) -> Self:
        """The config of the network that a recipe describes, between these ends."""
        given = asdict(ends)
        own = cls.model_fields.keys() - {"family"}
        keys = {name: given[name] if name in given else getattr(network, name) for name in own}
        return cls.model_validate(keys)

    @property
    def ends(self) -> Ends:
        """What it takes and gives beside its network."""
        return Ends(self.latent, self.size_px, self.channels, self.classes, self.class_names)

    @property
    def size_px(self) -> int:
        """Height and width of its pictures."""
        raise NotImplementedError

    @property
    def map_sizes(self) -> list[tuple[int, ...]]:
        """(height, width) of what each layer makes, the pictures' last; () of a layer that makes a vector."""
        raise NotImplementedError

    @property
    def layer_count(self) -> int:
        """How many layers it has, the one that makes the colours included."""
        return len(self.widths) + 1

    def without_spectral(self) -> Self:
        """The same network with plain weights in place of spectrally normalised ones."""
        return self.model_copy(update={"spectral": False}) if "spectral" in type(self).model_fields else self


class CriticConfig(CriticNetwork):
    """All that is needed to rebuild a critic. As JSON it stands in a stage's config.json."""

    family: str
    channels: Literal[1, 3]
    classes: Count | None = None
    """Of a conditional critic, which is shown the label."""

    @classmethod
    def of(cls, network: CriticNetwork, ends: Ends) -> Self:
        """The config of the critic that a recipe describes, for the pictures of a generator with these ends."""
        given = asdict(ends)
        own = cls.model_fields.keys() - {"family"}
        keys = {name: given[name] if name in given else getattr(network, name) for name in own}
        return cls.model_validate(keys)

    @property
    def layer_count(self) -> int:
        """How many layers it has, the one that makes the score included."""
        return len(self.widths) + 1


def partners(student: GeneratorConfig, teacher: GeneratorConfig) -> list[int | None]:
    """For each layer of the student, the layer of the teacher (counted from 0) that makes maps of the same size.

    Networks whose layers make the same sizes pair in order. Else a size that one of them has more than once has no
    partner.
    """
    mine, theirs = student.map_sizes, teacher.map_sizes
    if mine == theirs:
        return list(range(len(mine)))
    return [theirs.index(s) if mine.count(s) == theirs.count(s) == 1 else None for s in mine]


def hidden_pairs(student: GeneratorConfig, teacher: GeneratorConfig) -> list[tuple[int, int]]:
    """(layer of the student, layer of the teacher) of hidden layers with maps of the same size, counted from 0."""
    pairs = enumerate(partners(student, teacher)[:-1])
    return [(mine, theirs) for mine, theirs in pairs if theirs is not None and theirs < len(teacher.widths)]
