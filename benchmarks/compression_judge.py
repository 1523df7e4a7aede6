"""Distances of exported files for `compression.py`, each measured once and kept by the file's hash."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compression_rows import DATA
from ganlet.data import load_pictures
from ganlet.device import OnnxRunner, Sampler
from ganlet.device.pictures import to_uint8
from ganlet.files import MB, sha256_file
from ganlet.metrics import FeatureNet, compare, extract, feature_net, paired_change_percent
from ganlet.metrics.intervals import Figure
from ganlet.ui import Terminal
from ganlet.verify.fidelity import choose_reference
from ganlet.verify.parity import check_parity

NET = "lite0"
LATENT_SEED, CHOOSING_SEED = 0, 1  # every row draws the same latents
SHEET = 32
Features = NDArray[np.float32]


class Judge:
    """Measures files against held-out pictures of `data` and against each other.

    `choosing` measures them on pictures beyond the data's count and on other latents, so that settings can be chosen
    without a look at what the table reports.
    """

    def __init__(
        self, work: Path, samples: int, observer: Terminal, data: Mapping[str, Any] = DATA, choosing: bool = False
    ) -> None:
        self.cache, self.samples, self.observer = work / ("choosing" if choosing else "judged"), samples, observer
        self.data, self.choosing, self.latent_seed = data, choosing, CHOOSING_SEED if choosing else LATENT_SEED
        self.net: FeatureNet | None = None

    def figures(self, path: Path, teacher: Path, others: Mapping[str, Path]) -> dict[str, Any]:
        """What the table says of one file: size, distances to data and teacher, paired changes in percent."""
        fd, kid = self.to_data(path)
        found: dict[str, Any] = {
            "parameters": parameters(path),
            "file_mb": path.stat().st_size / MB,
            "of_teacher": teacher.stat().st_size / path.stat().st_size,
            "fd": fd.interval.as_json(),
            "kid": kid.interval.as_json(),
        }
        if path != teacher:
            fd_teacher, kid_teacher = self._distance(path, teacher)
            found |= {"fd_teacher": fd_teacher.interval.as_json(), "kid_teacher": kid_teacher.interval.as_json()}
        for name, other in others.items():
            if other != path:
                change = paired_change_percent(fd, self.to_data(other)[0], seed=self.latent_seed)
                found[f"change_to_{name}_percent"] = change.as_json()
        if "fp32" in others:
            near = check_parity(OnnxRunner(path), OnnxRunner(others["fp32"]), limit=None, seed=self.latent_seed)
            found["psnr_to_fp32_db"] = near.psnr_db
        return found

    def to_data(self, path: Path) -> tuple[Figure, Figure]:
        """Frechet and kernel distance of a file's pictures to held-out pictures."""
        return self._distance(path, None)

    def sheet(self, path: Path) -> NDArray[np.uint8]:
        """The first 32 pictures (32, H, W, 3), of the same latents for every file."""
        return Sampler(path, threads=1).images(0, SHEET, self.latent_seed)

    def data_sheet(self) -> NDArray[np.uint8]:
        pictures, indices = self._reference()
        return np.asarray(pictures[indices[:SHEET]]).transpose(0, 2, 3, 1)

    def _distance(self, path: Path, other: Path | None) -> tuple[Figure, Figure]:
        name = f"{sha256_file(path)[:24]}-to-{sha256_file(other)[:24] if other else 'data'}-{self.samples}.npz"
        kept = self.cache / name
        if not kept.is_file():
            found = compare(self._features(path), self._features(other), net=NET)
            arrays = {}
            for kind, figure in (("fd", found.fd), ("kid", found.kid)):
                arrays[kind] = np.array([figure.value, figure.low, figure.high])
                arrays[f"{kind}_a"], arrays[f"{kind}_b"] = figure.a_influence, figure.b_influence
            _save(kept, **arrays)
        with np.load(kept, allow_pickle=False) as loaded:
            return _figure(loaded, "fd"), _figure(loaded, "kid")

    def _features(self, path: Path | None) -> Features:
        """Features (N, 1280) of a file's pictures, or of the held-out ones."""
        kept = self.cache / f"{sha256_file(path)[:24] if path else 'data'}-{self.samples}.npz"
        if not kept.is_file():
            self.net = self.net or feature_net(NET)
            print(f"# features of {path or 'the data'}", flush=True)
            _save(kept, features=extract(self.net, self._chunks(path)))
        with np.load(kept, allow_pickle=False) as loaded:
            features: Features = loaded["features"]
        return features

    def _chunks(self, path: Path | None) -> Iterator[NDArray[np.uint8]]:
        if path is None:
            pictures, indices = self._reference()
            for start in range(0, len(indices), 256):
                yield np.asarray(pictures[indices[start : start + 256]])
            return
        for images in Sampler(path, threads=1).stream(self.latent_seed, 0, self.samples):
            yield to_uint8(images).transpose(0, 3, 1, 2)

    def _reference(self) -> tuple[Any, NDArray[np.int64]]:
        data, count = self.data, self.data["count"]
        if self.choosing:  # a smaller count is a prefix: none of these is trained on, and none is in the table
            pictures = load_pictures(data["source"], size=data["size"], channels=3, count=count + self.samples)
            return pictures.pictures, np.arange(count, count + self.samples)
        pictures = load_pictures(data["source"], size=data["size"], channels=3, count=count)
        reference = choose_reference(pictures, data["holdout"], 0, self.samples)
        return reference.pictures.pictures, reference.indices


def parameters(path: Path) -> int:
    """Numbers in the stage's weights that are learnt, read from the run beside the file."""
    from ganlet.artifact import find_stage
    from ganlet.training.load import load_generator

    return sum(p.numel() for p in load_generator(find_stage(path.parent)).parameters())


def _figure(loaded: Mapping[str, NDArray[np.float64]], kind: str) -> Figure:
    value, low, high = (float(number) for number in loaded[kind])
    return Figure(value, low, high, loaded[f"{kind}_a"], loaded[f"{kind}_b"])


def _save(path: Path, **arrays: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)
