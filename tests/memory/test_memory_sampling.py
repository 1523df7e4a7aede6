"""Memory while sampling: the forecast against fresh processes, and engines against what TensorRT builds."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from ganlet.errors import GanletError
from ganlet.export.engines import Request, build_engine
from ganlet.export.onnx_export import onnx_bytes
from ganlet.files import MIB
from ganlet.memory.engine import declared
from ganlet.memory.sampling import BATCHES, forecast_sampling, measure_sampling
from ganlet.models.dcgan import GeneratorConfig
from ganlet.models.families import build_generator

CONFIG = GeneratorConfig(latent=64, widths=(256, 128, 64), strides=(2, 2, 2), kernels=(4, 4, 4), channels=3)
ENGINE = b"""junk\x00
region = { name=devmem size=1048576 alignment=128 instance=0 type=user place=accelerator unified=false }
region = { name=more size=524288 alignment=128 instance=0 type=user place=accelerator unified=false }
region = { name=host size=99 alignment=128 instance=0 type=system place=host unified=false }
region = { name=consts size=7777 alignment=128 instance=0 type=system place=accelerator unified=false constant=true }
accelerators={sm86 sm75 }\x00"""


def test_by_hand_on_a_chain_of_two_layers() -> None:
    config = GeneratorConfig(latent=10, widths=(8,), strides=(2,), kernels=(4,), channels=3, norm="none")
    rows = {(row.runtime, row.batch): row for row in forecast_sampling(config, "cuda")}
    weights = (10 * 8 * 16 + 8) + (8 * 3 * 16 + 3)  # numbers
    hidden, picture = 8 * 4 * 4, 3 * 8 * 8  # of one picture; ReLU works in place
    for batch in BATCHES:
        row = rows["torch", batch]
        assert row.weights_mib * MIB == 4 * weights
        scratch = 4 * batch * max(10 + hidden + picture, 10 + 2 * picture)  # second layer, or tanh beside its input
        assert row.scratch_mib == (scratch / MIB, scratch / MIB)
        assert row.peak_mib[0] * MIB == pytest.approx(4 * weights + scratch)
    assert rows["onnxruntime", 1].peak_mib[0] < rows["onnxruntime", 1].peak_mib[1]


@pytest.mark.slow
def test_fresh_processes_agree() -> None:
    rows = forecast_sampling(CONFIG, "cpu")
    for row in measure_sampling(CONFIG, rows, onnx_bytes(build_generator(CONFIG), "")):
        assert row.measured_mib is not None and row.process_mib is not None
        low, high = row.peak_mib
        slack = 0.1
        if row.runtime == "torch":  # scratchpads, which are not forecast, are larger with AVX2
            slack = 0.02 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 0.08
        assert (1 - slack) * low <= row.measured_mib <= (1 + slack) * high, row
        assert row.process_mib > row.measured_mib


def test_a_process_that_dies_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures.process import BrokenProcessPool

    from ganlet.memory import sampling

    class Dead:
        def __init__(self, *_: object, **__: object) -> None: ...
        def __enter__(self) -> "Dead":
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, *_: object) -> None:
            raise BrokenProcessPool

    monkeypatch.setattr(sampling, "ProcessPoolExecutor", Dead)
    with pytest.raises(GanletError, match="draws 1 pictures with torch died"):
        measure_sampling(CONFIG, forecast_sampling(CONFIG, "cpu")[:1], b"")


def test_an_engine_is_read_without_tensorrt(tmp_path: Path) -> None:
    path = tmp_path / "sm86.engine"
    path.write_bytes(ENGINE)
    found = declared(path)
    assert found.scratch_mib == 1.5 and found.targets == ("sm75", "sm86")
    assert found.weights_mib * MIB == len(ENGINE)
    (row,) = [row for row in forecast_sampling(CONFIG, "cuda", (path,)) if row.runtime == "tensorrt"]
    assert row.peak_mib is not None
    assert "sm86.engine (sm75, sm86)" in row.basis and "not verified" in row.basis and row.peak_mib[0] > 1.5


def test_a_file_that_declares_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    with pytest.raises(GanletError, match="cannot be read"):
        declared(path)
    path.write_bytes(b"region = { name= }" * 10)
    with pytest.raises(GanletError, match="declares no memory"):
        declared(path)
    *others, row = forecast_sampling(CONFIG, "cuda", (path,))  # the forecast of all else is still told
    assert others == forecast_sampling(CONFIG, "cuda")
    assert row.basis.startswith("not verified") and row.peak_mib is None and row.as_json()["scratch_mib"] is None


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed (extra trt)")
def test_what_real_engines_declare_grows_with_the_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = tmp_path / "generator.onnx"
    model.write_bytes(onnx_bytes(build_generator(CONFIG), ""))
    found = []
    for batch in (4, 16):
        engine = tmp_path / f"{batch}.engine"
        build_engine(Request(model, engine, ("sm86",), batches=(1, 1, batch)))
        found.append(declared(engine))
    weights_mib = sum(p.nbytes for p in build_generator(CONFIG).parameters()) / MIB
    activation_mib = 64 * 16 * 16 * 4 / MIB  # the largest of one picture
    for one, batch in zip(found, (4, 16), strict=True):
        assert one.targets == ("sm86",) and one.weights_mib > 0.95 * weights_mib
        assert one.scratch_mib > batch * activation_mib
    assert found[1].scratch_mib > found[0].scratch_mib  # of both, 8 MiB do not depend on the batch
