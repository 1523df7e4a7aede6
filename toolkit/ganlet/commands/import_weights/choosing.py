"""The network that is meant among the tensors of a checkpoint: by names and shapes, whatever they are wrapped in."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]
Role = Literal["generator", "critic"]
ANCHOR = "layer1.0."  # how the names of a network's first layer begin
COUNTER = "num_batches_tracked"
DEPTH, MOST = 8, 1000  # of containers within containers, and of candidates: no checkpoint has as many

EMA = re.compile(r"(net|gen|generator|model)?g?ema(g|net|model|gen|generator)?\d*|averaged?|avg|swa|shadow")
CRITIC = re.compile(r"d|net_?d|d_?net|disc.*|critic.*")
GENERATOR = re.compile(r"g|net_?g|g_?net|gen|generator|model|student|teacher")


@dataclass(frozen=True)
class Candidate:
    """Tensors that may be one network: the keys of the dicts that they lie in, and what stood before each name."""

    where: tuple[str, ...]
    prefix: str
    tensors: Tensors

    @property
    def words(self) -> list[str]:
        """The words of its place, in lower case: ("state_dict",), "g_ema." -> ["state", "dict", "g", "ema"]."""
        parts = re.split(r"[^a-zA-Z0-9]+", ".".join([*self.where, self.prefix]))
        return [part.lower() for part in parts if part]

    @property
    def is_average(self) -> bool:
        return any(EMA.fullmatch(word) for word in self.words)

    def rank(self, role: Role) -> int:
        """The less, the sooner it is taken: averaged generators first, then what is named as the role."""
        is_critic = any(CRITIC.fullmatch(word) for word in self.words)
        is_generator = any(GENERATOR.fullmatch(word) for word in self.words)
        if role == "critic":
            return int(self.is_average) if is_critic else 3 if is_generator or self.is_average else 2
        return 3 if is_critic else 0 if self.is_average else 1 if is_generator else 2

    def __str__(self) -> str:
        place = " of ".join(f'"{key}"' for key in reversed(self.where))
        names = f'the names that begin with "{self.prefix}"' if self.prefix else ""
        return " in ".join(part for part in (names, place) if part) or "the names without a prefix"


def candidates(content: Any) -> list[Candidate]:
    """Every set of tensors in `content` that may be a network, those with a first layer of ours first."""
    every = [candidate for where, tensors in _tensor_dicts(content, ()) for candidate in _by_prefix(where, tensors)]
    return sorted(every[:MOST], key=lambda candidate: not any(name.startswith(ANCHOR) for name in candidate.tensors))


def _tensor_dicts(content: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensors]]:
    """The dicts in `content`, and in dicts and lists within, that hold tensors by name."""
    if len(where) > DEPTH:
        return
    if isinstance(content, Mapping):
        tensors = {name: tensor for name, value in content.items() if (tensor := _tensor(name, value)) is not None}
        if tensors:
            yield where, tensors
        below: list[tuple[Any, Any]] = list(content.items())
    elif isinstance(content, list | tuple):
        below = list(enumerate(content))
    else:
        return
    for name, value in below:
        yield from _tensor_dicts(value, (*where, str(name)))


def _tensor(name: Any, value: Any) -> torch.Tensor | None:
    if not isinstance(name, str):
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
        return torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    return value if isinstance(value, torch.Tensor) else None


def _by_prefix(where: tuple[str, ...], tensors: Tensors) -> list[Candidate]:
    """A dict's tensors by what stands before `layer1.0.` in their names; a name belongs to the longest that fits it."""
    prefixes = {name[: name.rfind(ANCHOR)] for name in tensors if f".{ANCHOR}" in f".{name}"}
    by_prefix: dict[str, Tensors] = {prefix: {} for prefix in sorted(prefixes, key=len, reverse=True)} or {"": {}}
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in by_prefix if name.startswith(prefix)), None)
        if prefix is not None:
            by_prefix[prefix][name[len(prefix) :]] = tensor
    return [Candidate(where, prefix, some) for prefix, some in by_prefix.items()]


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape; that of a nested tensor, which has none, is empty."""
    return () if tensor.is_nested else tuple(tensor.shape)


def misfits(tensors: Tensors, expected: Shapes) -> list[str]:
    """What differs from the names and shapes of a network, in words; nothing where the tensors fit it.

    Counters of batches may be missing, and numbers that are no weights (an epoch, a step) may lie beside.
    """
    missing = [name for name in sorted(expected.keys() - tensors.keys()) if not name.endswith(COUNTER)]
    unknown = [
        name for name in sorted(tensors.keys() - expected.keys()) if "." in name or shape_of(tensors[name]) != ()
    ]
    shapes = [
        f"{name}: {shape_of(tensors[name])}, expected {shape}"
        for name, shape in expected.items()
        if name in tensors and shape_of(tensors[name]) != shape
    ]
    faults = [f"missing {', '.join(_with_nearest(name, unknown) for name in missing[:4])}"] if missing else []
    faults += [f"unknown {', '.join(unknown[:4])}{_more(unknown)}"] if unknown else []
    return faults + ([f"shape of {'; '.join(shapes[:4])}"] if shapes else [])


def _with_nearest(name: str, unknown: list[str]) -> str:
    near = difflib.get_close_matches(name, unknown[:200], n=1, cutoff=0.6)
    return f"{name} (nearest: {near[0]})" if near else name


def _more(names: list[str]) -> str:
    return f" and {len(names) - 4} more" if len(names) > 4 else ""


def choose(
    in_file: list[Candidate], role: Role, expected: Callable[[Candidate], Shapes | None]
) -> tuple[list[Candidate], list[Candidate]]:
    """The candidates that fit and are to be taken - more than one where they differ and nothing tells which is meant -
    and the others that fit.

    `expected` gives the shapes of the network that a candidate would be of; None where it cannot be any.
    """
    fitting = [c for c in in_file if (shapes := expected(c)) is not None and not misfits(c.tensors, shapes)]
    least = min((candidate.rank(role) for candidate in fitting), default=0)
    best = [candidate for candidate in fitting if candidate.rank(role) == least]
    if best and all(_same(best[0].tensors, candidate.tensors) for candidate in best[1:]):
        best = best[:1]
    return best, [candidate for candidate in fitting if candidate not in best]


def _same(one: Tensors, other: Tensors) -> bool:
    try:
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    except (RuntimeError, NotImplementedError):  # quantised, sparse or meta tensors, which are refused later
        return False
