"""What a generator takes: its ports, and the only place that draws what goes into them.

The name of a port says what it is:

| name      | one row                        | drawn by                                              |
|-----------|--------------------------------|-------------------------------------------------------|
| `z`       | float32 (latent,)              | standard normal, stream 0                             |
| `label`   | int64 ()                       | uniform over the classes, stream 1                    |
| `code`    | float32 (codes,)               | uniform in [-1, 1], stream 2                          |
| `picture` | float32 (channels, H, W)       | nothing: pictures in [-1, 1] are given                |

A feed is a dict of arrays by these names, all with the same number of rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.device.latents import codes, labels, latents
from ganlet.errors import GanletError, shortened

Feed = dict[str, NDArray[Any]]
NAMES = ("z", "label", "code", "picture")
"""Every port that there is, in the order in which an exported file has them."""
MOST_DIGITS = 20  # of a class number: Python reads no more than some thousand
ROW_AXES = {"z": 1, "label": 0, "code": 1, "picture": 3}
DTYPES: dict[str, type[np.generic]] = {"z": np.float32, "label": np.int64, "code": np.float32, "picture": np.float32}


@dataclass(frozen=True)
class Port:
    """One input of a generator. `shape` is that of one row; `classes` and their names are those of a label."""

    name: str
    shape: tuple[int, ...]
    classes: int | None = None
    class_names: tuple[str, ...] = ()

    @property
    def dtype(self) -> type[np.generic]:
        return DTYPES[self.name]

    def draw(self, seed: int, start: int, count: int) -> NDArray[Any]:
        """The rows `start ... start + count - 1` of a seed. Raises GanletError for a port that is given."""
        if self.name == "z":
            return latents(seed, start, count, *self.shape)
        if self.name == "label":
            return labels(seed, start, count, self.classes or 1)
        if self.name == "code":
            return codes(seed, start, count, *self.shape)
        raise GanletError(f"The input {self.name} cannot be drawn; give {self._expected(count)}.")

    def rows_of(self, value: Any, count: int) -> NDArray[Any]:
        """What was given for `count` rows: an array with a row each, or one row (a class by number or name) for all.

        Raises GanletError where it does not fit.
        """
        if self.name == "label" and isinstance(value, str | int | np.integer):
            wanted = value if isinstance(value, str) else int(value)
            return np.full(count, self.class_number(wanted), np.int64)
        array = np.asarray(value, None if isinstance(value, np.ndarray) else self.dtype)
        if array.shape == self.shape and self.name != "label":
            array = np.broadcast_to(array, (count, *self.shape))
        return self.checked(np.ascontiguousarray(array), count, "the input")

    def class_number(self, wanted: int | str) -> int:
        """The number of a class given by number or by name. Raises GanletError for one that there is not."""
        classes = self.classes or 1
        if isinstance(wanted, str) and wanted in self.class_names:
            return self.class_names.index(wanted)
        if isinstance(wanted, str) and not wanted.isdecimal():
            if not self.class_names:
                raise GanletError(f"Got the label {wanted!r}; its classes have no names, give 0 to {classes - 1}.")
            import difflib

            near = difflib.get_close_matches(wanted.lower(), [name.lower() for name in self.class_names], 1, 0.0)[0]
            nearest = next(name for name in self.class_names if name.lower() == near)
            raise GanletError(
                f"Got the label {wanted!r}; the nearest of the {classes} classes is {nearest!r}, or give 0 to "
                f"{classes - 1}."
            )
        number = int(wanted) if len(str(wanted)) <= MOST_DIGITS else classes
        if not 0 <= number < classes:
            raise GanletError(f"Got label {shortened(str(wanted), MOST_DIGITS)}; expected 0 to {classes - 1}.")
        return number

    def checked(self, array: Any, count: int, who: str) -> NDArray[Any]:
        """`array`, if it holds `count` rows of this port. Raises GanletError, which names `who`, else."""
        shape = (count, *self.shape)
        if not isinstance(array, np.ndarray) or array.dtype != self.dtype or array.shape != shape:
            raise GanletError(
                f"{who} got {describe(array)} for {self.name}; expected {self._expected(count)}, as "
                "ganlet.device.feed_at draws it."
            )
        if self.name == "label":
            if count and (array.min() < 0 or array.max() >= (self.classes or 1)):
                raise GanletError(
                    f"{who} got labels from {array.min()} to {array.max()}; expected 0 to {(self.classes or 1) - 1}."
                )
        elif not all_finite(array):
            raise GanletError(f"{who} got numbers for {self.name} that are not finite; expected finite ones.")
        return array

    def _expected(self, count: int) -> str:
        return f"{np.dtype(self.dtype).name} {(count, *self.shape)}"


Ports = tuple[Port, ...]


def z_port(latent_dim: int) -> Port:
    """The port of a latent of `latent_dim` numbers."""
    return Port("z", (latent_dim,))


def label_port(classes: int, class_names: Sequence[str] = ()) -> Port:
    """The port of a class label."""
    return Port("label", (), classes, tuple(class_names))


def find_port(ports: Ports, name: str) -> Port | None:
    """The port of that name, None where there is none."""
    return next((port for port in ports if port.name == name), None)


def latent_dim(ports: Ports) -> int:
    """How many numbers a latent has; 0 for a generator without one."""
    port = find_port(ports, "z")
    return port.shape[0] if port is not None else 0


def feed_at(ports: Ports, seed: int, start: int, count: int, **given: Any) -> Feed:
    """The feed of the indices `start ... start + count - 1` of a seed: each row depends on (seed, index) alone.

    `given`: by a port's name what replaces the draw, as `Port.rows_of` takes it; None is none.
    Raises GanletError for what cannot be drawn, does not fit, or is given for a port that there is not.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for name in given.keys() - {port.name for port in ports}:
        raise GanletError(_no_such_port(name, given[name], ports))
    latents(seed, start, 0, 1)  # refuses a bad seed or index, whatever is drawn
    return {
        port.name: port.rows_of(given[port.name], count) if port.name in given else port.draw(seed, start, count)
        for port in ports
    }


def example_feed(ports: Ports, count: int) -> Feed:
    """A feed that is always the same, to time or try out a generator: grey pictures, the rest drawn of seed 0."""
    grey = {port.name: np.zeros((count, *port.shape), np.float32) for port in ports if port.name == "picture"}
    return feed_at(ports, 0, 0, count, **grey)


def row_shapes(ports: Ports) -> dict[str, tuple[int, ...]]:
    """The shape of one row of each port."""
    return {port.name: port.shape for port in ports}


def check_feed(who: str, ports: Ports, feed: Mapping[str, Any]) -> int:
    """The number of rows of a feed. Raises GanletError, which names `who`, unless it fits the ports."""
    names = [port.name for port in ports]
    if not isinstance(feed, Mapping):
        raise GanletError(
            f"{who} got {describe(feed)}; expected a dict of {', '.join(names)}, as ganlet.device.feed_at draws it."
        )
    if sorted(feed) != sorted(names):
        extra = next((name for name in feed if name not in names), None)
        if extra is not None:
            raise GanletError(f"{who}: {_no_such_port(extra, None, ports)}")
        missing = next(name for name in names if name not in feed)
        raise GanletError(f"{who} got no {missing}; expected {', '.join(names)}, as ganlet.device.feed_at draws them.")
    first = feed[names[0]]
    count = len(first) if isinstance(first, np.ndarray) and first.ndim else 0
    if count == 0:
        raise GanletError(f"{who} got {describe(first)} for {names[0]}; expected one row or more.")
    for port in ports:
        port.checked(feed[port.name], count, who)
    return count


def rows(feed: Feed, which: Any) -> Feed:
    """The same rows of every array of a feed."""
    return {name: array[which] for name, array in feed.items()}


def row_count(feed: Mapping[str, Any]) -> int:
    """How many rows a feed has."""
    return len(next(iter(feed.values())))


def describe(value: Any) -> str:
    """An array's dtype and shape, else the type: what a sentence says that it got."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


FEW = 8192  # numbers; BLAS would wake its threads for more


def all_finite(numbers: NDArray[Any]) -> bool:
    """Whether none of the numbers is NaN or infinite.

    Of few numbers the sum of squares tells it in half the time, which counts where a picture takes 60 microseconds.
    """
    if numbers.size <= FEW and np.isfinite(np.vdot(numbers, numbers)):
        return True
    return bool(np.isfinite(numbers).all())


def _no_such_port(name: str, value: Any, ports: Ports) -> str:
    shown = f" {value!r}" if isinstance(value, str | int | float) else ""
    takes = ", ".join(port.name for port in ports)
    if name == "label":
        return f"Got the label{shown}, but this generator takes {takes} alone: it has no classes; leave the label out."
    return f"Got {name}{shown}, but this generator takes {takes} alone; leave {name} out."
