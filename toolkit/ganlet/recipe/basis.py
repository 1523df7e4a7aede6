"""What a stage is made of, and how two of them differ: whether one stands for the other, or goes on where it ended."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ganlet.artifact import TRAINED_SECTIONS

MOST_THREADS = 256  # that a stage of an earlier version is looked for under
DECIDED_BY_PICTURES = ("source", "size", "channels", "crop", "count", "skip_bad")  # their content is in data_sha256


@dataclass(frozen=True)
class Basis:
    """All values that decide a stage's weights: those of the recipe that are not defaults, and hashes of its inputs."""

    values: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 of the values: equal keys mean equal stages."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()

    def changes_since(self, key: str, rests_on: object, images: int | None = None) -> frozenset[str] | None:
        """Dotted names of the values that a stage was made with otherwise, without those that change no result.

        `threads` stays among them, as it changes last bits. A stage of an earlier version has only its key and the
        number of `images` that it was trained on: None where neither tells what has changed.
        """
        if key == self.key:
            return frozenset()
        if isinstance(rests_on, dict):
            own, other = flat(self.values), flat(rests_on)
            changed = {name for name in own.keys() | other.keys() if own.get(name) != other.get(name)}
            if self.values.get("data_sha256") == rests_on.get("data_sha256"):
                changed -= {f"data.{name}" for name in DECIDED_BY_PICTURES}
            return frozenset(changed)
        return next((changed for changed, values in self._variants(images) if Basis(values).key == key), None)

    def _variants(self, images: int | None) -> Iterator[tuple[frozenset[str], dict[str, Any]]]:
        """What a stage of an earlier version may have been made of, with the names of what has changed since."""
        data = {k: v for k, v in self.values.get("data", {}).items() if k != "skip_bad"}
        tables = [("", self.values)] + ([] if images is None else list(_with_images(self.values, images)))
        for name, table in tables:
            for threads in (None, *range(1, MOST_THREADS + 1)):
                changed = {name} | ({"threads"} if threads != self.values.get("threads") else set())
                for skips in (data, data | {"skip_bad": True}):
                    replaced = {"data": skips, "threads": threads} if "data" in self.values else {"threads": threads}
                    yield frozenset(changed - {""}), table | replaced


def flat(table: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """The leaves of nested tables by their dotted names, such as teacher.train.lr or compress.0.ratio."""
    leaves: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
            value = {str(number): one for number, one in enumerate(value)}
        leaves |= flat(value, f"{at}{name}.") if isinstance(value, Mapping) else {at + name: value}
    return leaves


def is_images(name: str) -> bool:
    """Whether a dotted name is that of the number of pictures that a stage is trained on."""
    return name.endswith(".train.images")


def _with_images(values: dict[str, Any], images: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The values with another train.images, and with its default, which has no entry."""
    for section in (*TRAINED_SECTIONS, "compress"):
        if section not in values:
            continue
        name = f"{section}.0.tune.train.images" if section == "compress" else f"{section}.train.images"
        table = values[section][0].get("tune", {}) if section == "compress" else values[section]
        without = {k: v for k, v in table.get("train", {}).items() if k != "images"}
        for train in (without, without | {"images": images}):
            changed = {k: v for k, v in table.items() if k != "train"} | ({"train": train} if train else {})
            whole = [values[section][0] | {"tune": changed}] if section == "compress" else changed
            yield name, values | {section: whole}
