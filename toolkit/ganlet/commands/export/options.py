"""What can be chosen of a target: the options of `ganlet export`."""

from dataclasses import dataclass, field
from pathlib import Path

from ganlet.recipe import Verify


@dataclass(frozen=True)
class ExportOptions:
    """How a target is wanted, where it leaves a choice."""

    precision: str = "fp32"
    """fp32, fp16 or int8."""
    gpus: tuple[str, ...] = ()
    """Cards and boards that an engine is built for, by name."""
    profile: str | None = None
    """Which form of each layer is the fastest (`ganlet.export.profiles`); the precision's usual one unless told."""
    tune: bool = False
    """Choose the form of each layer by measured time on this machine instead."""
    wasm: Path | None = None
    """Folder of the npm package onnxruntime-web, for a web page that works offline."""
    opt_batch: int = 1
    """Pictures at a time that an engine is made the fastest for."""
    max_batch: int = 32
    """Most pictures that an engine draws at a time; its memory grows with it."""
    workspace_mib: int = 1024
    """Most memory that an engine may take to work in, in MiB."""
    keep: bool = False
    """What is there already keeps the options that it was made with; `ganlet run` asks for that."""
    as_source: bool = False
    """It is made for another target: that it is there already is not said."""
    limits: Verify = field(default_factory=Verify)
    """What the recipe allows exported files to differ from the network."""
