"""What training leaves to look at: metrics.jsonl, TensorBoard, pictures of six fixed latents over time."""

import io
import json
import math
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from PIL import Image

from ganlet.device.feed import Ports
from ganlet.device.pictures import encode_png, grid, to_uint8
from ganlet.errors import Diverged, GanletError
from ganlet.files import write_bytes
from ganlet.models.base import Generator
from ganlet.models.ports import seeded_feed

FIXED_LATENTS = 6
STRIP_ROWS = 12  # of the progress strip; more moments than that are thinned evenly


class Telemetry:
    """Writes one stage's logs. `resume_step` cuts off what an interrupted run wrote past its last checkpoint.

    All of it is there to look at and no result depends on it. What cannot be written is said once, by `say`, and left
    out from then on.
    """

    def __init__(
        self, folder: Path, seed: int, ports: Ports, resume_step: int, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.folder, self.say = folder, say
        self.feed = seeded_feed(ports, seed, 0, FIXED_LATENTS)
        self.log_path = folder / "metrics.jsonl"
        self.stream: TextIO | None = None
        self.board: Board | None = None
        self.draws = True
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.stream = self._open_log(resume_step)
        except (OSError, GanletError) as error:
            self._give_up("losses are not logged", error)
        forget_pictures(folder / "progress", resume_step)
        try:
            self.board = Board.open(folder / "tensorboard", resume_step)
        except Exception as error:  # whatever TensorBoard raises, from its protobuf to its file system
            self._give_up("nothing is written for TensorBoard", error)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Append one line. Values are finite: the loop has checked them."""
        if self.stream is not None:
            try:
                self.stream.write(json.dumps({"step": step} | values) + "\n")
                self.stream.flush()
            except OSError as error:
                self._give_up("losses are no longer logged", error)
                self._close_log()
        if self.board is not None:
            try:
                self.board.add(step, values)
            except Exception as error:
                self._give_up("nothing more is written for TensorBoard", error)
                self._close_board()

    def picture(self, step: int, generator: Generator) -> None:
        """Write progress/STEP.png, six pictures side by side, and progress/strip.png, all moments below each other."""
        if not self.draws:
            return
        row = self._row(generator)
        try:
            write_bytes(self.folder / "progress" / f"{step:07d}.png", encode_png(row))
            write_bytes(self.folder / "progress" / "strip.png", encode_png(strip(self.folder / "progress", row)))
        except GanletError as error:
            self._give_up("no more progress pictures are written", error)
            self.draws = False

    def close(self) -> None:
        self._close_log()
        self._close_board()

    def _give_up(self, consequence: str, error: Exception) -> None:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        self.say(f"{self.folder.name}: {consequence} ({reason}); training goes on")

    def _close_log(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):  # what is still to be written may be more than the disk takes
                os.fsync(stream.fileno())
            with suppress(OSError):
                stream.close()

    def _close_board(self) -> None:
        board, self.board = self.board, None
        if board is not None:
            board.close()

    @torch.no_grad()
    def _row(self, generator: Generator) -> np.ndarray:
        was_training = generator.training
        device = next(generator.parameters()).device
        feed = {name: rows.to(device) for name, rows in self.feed.items()}
        images = generator.eval()(**feed).cpu().numpy()
        generator.train(was_training)
        return grid(to_uint8(images), columns=FIXED_LATENTS)

    def _open_log(self, step: int) -> TextIO:
        """The log, cut back to the lines up to `step`. Lines that are none are left out, and their number is said."""
        if self.log_path.exists() and not self.log_path.is_file():
            raise OSError(None, f"{self.log_path} is no regular file")
        if self.log_path.is_file():
            *lines, rest = self.log_path.read_bytes().split(b"\n")  # `rest` is what a kill cut short, or empty
            steps = [step_of(line) for line in lines]
            kept = [line for line, at in zip(lines, steps, strict=True) if at is not None and at <= step]
            if damaged := steps.count(None):
                self.say(f"{self.folder.name}: {damaged} damaged lines of {self.log_path.name} were left out")
            if (at := step_of(rest)) is not None and at <= step:
                kept.append(rest)
            write_bytes(self.log_path, b"".join(line + b"\n" for line in kept))
        return self.log_path.open("a", encoding="utf-8")


def step_of(line: bytes) -> int | None:
    """The step of a line of the log; None where it is no line of a log."""
    try:
        values = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    step = values.get("step") if isinstance(values, dict) else None
    return step if isinstance(step, int) and not isinstance(step, bool) else None


def forget_pictures(folder: Path, step: int) -> None:
    """Delete the progress pictures of later steps."""
    for path in moments(folder):
        if int(path.stem) > step:
            with suppress(OSError):
                path.unlink()


def moments(folder: Path) -> list[Path]:
    """The progress pictures in their order; other files in the folder are left alone."""
    named = (path for path in folder.glob("[0-9]*.png") if re.fullmatch(r"[0-9]{7,12}\.png", path.name, re.ASCII))
    return sorted((path for path in named if path.is_file()), key=lambda path: int(path.stem))


def strip(folder: Path, row: np.ndarray) -> np.ndarray:
    """All moments below each other, time from top to bottom; pictures unlike `row` in size, or damaged, are left out.

    At most STRIP_ROWS rows of (H, W, 3) or (H, W, 1) uint8.
    """
    shown = np.atleast_3d(row)
    paths = moments(folder)
    if len(paths) > STRIP_ROWS:
        paths = [paths[round(i * (len(paths) - 1) / (STRIP_ROWS - 1))] for i in range(STRIP_ROWS)]
    rows = [found for path in paths if (found := read_row(path, shown.shape)) is not None]
    return np.concatenate(rows or [shown])


def read_row(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """A progress picture of that shape (H, W, channels), else None."""
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            if picture.format != "PNG" or (picture.height, picture.width) != shape[:2]:
                return None
            found = np.atleast_3d(np.asarray(picture))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # Pillow's names for a damaged file
        return None
    return found if found.shape == shape else None


class Board:
    """TensorBoard's writer of one stage."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    @classmethod
    def open(cls, folder: Path, resume_step: int) -> "Board | None":
        """None where TensorBoard is not installed: metrics.jsonl holds the same numbers."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        _quiet_threads()
        return cls(SummaryWriter(str(folder), purge_step=resume_step + 1))

    def add(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        with suppress(Exception):
            self.writer.close()


@cache
def _quiet_threads() -> None:
    """Keep the traceback of TensorBoard's own thread off the terminal; `Board.add` raises the same error."""
    before = threading.excepthook

    def hook(args: Any) -> None:
        if not type(args.thread).__module__.startswith("tensorboard."):
            before(args)

    threading.excepthook = hook


SECTIONS = {"student": "distill.train", "pruned": "compress.0.tune.train", "quantized": "compress.0.tune.train"}
"""Stage -> the recipe's section of its training, where it has another name."""


def require_finite(step: int, values: dict[str, float], stage: str) -> None:
    """Raise Diverged naming the step when a loss is NaN or infinite."""
    wrong = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(
            f"Training of {stage} broke at step {step}: {', '.join(wrong)}, expected finite numbers; the last good "
            "checkpoint is kept; lower the learning rate (--set "
            f"{SECTIONS.get(stage, f'{stage}.train')}.lr=...) or change the loss, and run again."
        )
