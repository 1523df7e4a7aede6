"""What training leaves to look at: metrics.jsonl, TensorBoard, pictures of six fixed latents over time."""

import io
import json
import math
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ganlet.device.latents import latents
from ganlet.device.pictures import encode_png, grid, to_uint8
from ganlet.errors import Diverged
from ganlet.files import write_bytes, write_failed
from ganlet.models import Generator

FIXED_LATENTS = 6
STRIP_ROWS = 12  # of the progress strip; more moments than that are thinned evenly


class Telemetry:
    """Writes one stage's logs. `resume_step` cuts off what an interrupted run wrote past its last checkpoint."""

    def __init__(self, folder: Path, seed: int, latent: int, resume_step: int) -> None:
        self.folder = folder
        self.z = torch.from_numpy(latents(seed, 0, FIXED_LATENTS, latent))  # (6, latent) float32
        self.log_path = folder / "metrics.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self._forget_after(resume_step)
        self.stream = self.log_path.open("a", encoding="utf-8")
        self.board = self._tensorboard(resume_step)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Append one line. Values are finite: the loop has checked them."""
        try:
            self.stream.write(json.dumps({"step": step} | values) + "\n")
            self.stream.flush()
        except OSError as error:
            raise write_failed(self.log_path, error) from error
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def picture(self, step: int, generator: Generator) -> None:
        """Write progress/STEP.png, six pictures side by side, and progress/strip.png, all moments below each other."""
        write_bytes(self.folder / "progress" / f"{step:07d}.png", encode_png(self._row(generator)))
        self.write_strip()

    def write_strip(self) -> None:
        """All moments so far as one picture, time from top to bottom."""
        moments = sorted((self.folder / "progress").glob("[0-9]*.png"))
        if len(moments) > STRIP_ROWS:
            moments = [moments[round(i * (len(moments) - 1) / (STRIP_ROWS - 1))] for i in range(STRIP_ROWS)]
        rows = [np.atleast_3d(np.asarray(Image.open(io.BytesIO(path.read_bytes())))) for path in moments]
        write_bytes(self.folder / "progress" / "strip.png", encode_png(np.concatenate(rows)))

    def close(self) -> None:
        """Raises GanletError where the disk does not take what is still to be written."""
        try:
            try:
                self.stream.flush()
                os.fsync(self.stream.fileno())
            finally:
                self.stream.close()
            if self.board is not None:
                self.board.close()
        except OSError as error:
            raise write_failed(self.log_path, error) from error

    @torch.no_grad()
    def _row(self, generator: Generator) -> np.ndarray:
        was_training = generator.training
        device = next(generator.parameters()).device
        images = generator.eval()(self.z.to(device)).cpu().numpy()
        generator.train(was_training)
        return grid(to_uint8(images), columns=FIXED_LATENTS)

    def _forget_after(self, step: int) -> None:
        """Keep the log lines up to `step`; a half-written last line goes too."""
        if not self.log_path.is_file():
            return
        kept = []
        for line in self.log_path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue
        write_bytes(self.log_path, "".join(kept).encode())
        for path in (self.folder / "progress").glob("[0-9]*.png"):
            if int(path.stem) > step:
                path.unlink()

    def _tensorboard(self, resume_step: int) -> "torch.utils.tensorboard.SummaryWriter | None":  # type: ignore[name-defined]
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # TensorBoard is a convenience: metrics.jsonl holds the same numbers
            return None
        return SummaryWriter(str(self.folder / "tensorboard"), purge_step=resume_step + 1)


def require_finite(step: int, values: dict[str, float], stage: str) -> None:
    """Raise Diverged naming the step when a loss is NaN or infinite."""
    wrong = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(
            f"Training of {stage} broke at step {step}: {', '.join(wrong)}, expected finite numbers; the last good "
            "checkpoint is kept; lower the learning rate (--set "
            f"{stage}.train.lr=...) or change the loss, and run again."
        )
