"""What a TensorRT engine declares of its memory, read from the file without a card and without TensorRT.

The plan format is not documented. What is read here is the text that TensorRT for RTX 1.7 writes into its engines: the
regions of memory that it will ask for, and the accelerators that it was built for. Another version may write otherwise;
then nothing is found, and nothing is claimed.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ganlet.errors import GanletError
from ganlet.files import MIB

READ_FROM = "TensorRT for RTX 1.7"  # the version whose engines were looked at
_REGION = re.compile(rb"region = \{ name=(\S+) size=(\d+) ([^{}\n]{0,200})\}")
_TARGETS = re.compile(rb"accelerators=\{([a-z0-9 ]{0,200})\}")


@dataclass(frozen=True)
class Declared:
    """`weights_mib` is the file, an upper bound for weights on the card; `scratch_mib` is what it asks for beside."""

    weights_mib: float
    scratch_mib: float
    targets: tuple[str, ...]


def declared(path: Path) -> Declared:
    """The memory that the engine at `path` declares. Raises GanletError where there is no file, or no declaration."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GanletError(f"{path} cannot be read ({error.strerror}); give a TensorRT engine.") from error
    regions = [(name, int(size), about.split()) for name, size, about in _REGION.findall(content)]
    if not regions:
        raise GanletError(
            f"{path} declares no memory that can be read; expected an engine written by {READ_FROM}, build it anew."
        )
    scratch = [size for _, size, about in regions if b"place=accelerator" in about and b"constant=true" not in about]
    targets = {word.decode() for words in _TARGETS.findall(content) for word in words.split()}
    return Declared(len(content) / MIB, sum(scratch) / MIB, tuple(sorted(targets)))
