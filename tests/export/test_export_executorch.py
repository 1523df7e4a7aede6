"""ExecuTorch programs: the pictures of torch and of ONNX Runtime, the same bytes each time, one contract, refusals."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import ganlet as package
from ganlet.artifact import load_stage, manifest_entry
from ganlet.commands import export
from ganlet.commands.export import ExportOptions, export_source
from ganlet.device import OnnxRunner, Sampler, latents
from ganlet.device.executorch_runner import ExecuTorchRunner
from ganlet.device.feed import z_port
from ganlet.errors import GanletError
from ganlet.export import executorch_export
from ganlet.export.executorch_export import executorch_bytes
from ganlet.files import read_json
from ganlet.recipe import Verify
from ganlet.training.load import load_generator
from ganlet.verify.parity import check_parity
from ganlet.verify.torch_runner import TorchRunner
from support import Answer, Silent, expect_refused


@pytest.fixture(scope="module")
def run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with generator.onnx, generator.pte and generator.int8.pte. The tests of one process share it."""
    pytest.importorskip("executorch", reason="the extra executorch is not installed")
    folder = tmp_path_factory.mktemp("phone") / "tiny"
    shutil.copytree(finished_run, folder)
    for precision in ("fp32", "int8"):
        export_source(folder, "executorch", ExportOptions(precision=precision), Silent())
    return folder


@pytest.mark.slow
def test_a_program_draws_what_torch_and_onnx_runtime_draw(run: Path) -> None:
    runner = ExecuTorchRunner(run / "generator.pte", threads=1)
    stage = load_stage(run / "student")
    z = latents(0, 0, 9, 8)
    drawn = runner({"z": z})
    with torch.no_grad():
        expected = load_generator(stage)(torch.from_numpy(z)).numpy()
    np.testing.assert_allclose(drawn, expected, atol=1e-5)
    np.testing.assert_allclose(drawn, OnnxRunner(run / "generator.onnx")({"z": z}), atol=1e-5)
    assert drawn.std() > 0.01 and runner.provider == "ExecuTorch XNNPACK"
    assert (runner.ports, runner.picture_shape) == ((z_port(8),), (1, 16, 16))
    assert runner.metadata["recipe_sha256"] == stage.config["provenance"]["recipe_sha256"]
    for batch in (1, 4, 7):
        floats = Sampler(run / "generator.pte", batch=batch, profile="small").floats(0, 9)
        assert np.array_equal(floats, drawn)


@pytest.mark.slow
def test_int8_is_near_and_the_manifest_tells_both(run: Path) -> None:
    reference = TorchRunner.of_stage(load_stage(run / "student"))
    parity = check_parity(ExecuTorchRunner(run / "generator.int8.pte"), reference, limit=1.0, seed=1)
    assert parity.psnr_db is not None and 38 < parity.psnr_db < 80, parity  # near, and not fp32 by another name
    files = read_json(run / "manifest.json")["files"]
    for name, precision in (("generator.pte", "fp32"), ("generator.int8.pte", "int8")):
        entry = files[name]
        assert entry["precision"] == precision and entry["bytes"] == (run / name).stat().st_size
        assert entry["inputs"] == {"z": {"shape": [1, 8], "dtype": "float32"}}
        assert entry["outputs"] == {"images": {"shape": [1, 1, 16, 16], "dtype": "float32"}}
        assert entry["outside_backend"] == [] and "executorch" in entry["versions"]
        assert entry["made_from"]["stage"] == "student"


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_without_paths(run: Path) -> None:
    content = (run / "generator.pte").read_bytes()
    stage = load_stage(run / "student")
    again, outside = executorch_bytes(load_generator(stage), stage.config["provenance"]["recipe_sha256"], "fp32")
    assert again == content and outside == []
    for leak in (str(Path(package.__file__).parent), str(Path.cwd()), tempfile.gettempdir(), "site-packages"):
        assert leak.encode() not in content
    seen = Silent()
    export_source(run, "executorch", ExportOptions(precision="int8"), seen)
    assert any("skipped" in line for line in seen.said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "limits", "fault"),
    [
        ("fp32", Verify(parity_max_abs=1e-12), "differed from the student"),  # nothing draws the very bits of torch
        ("int8", Verify(parity_int8_psnr_db=200.0), "drew .* dB"),
    ],
)
def test_a_program_that_draws_something_else_is_removed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, limits: Verify, fault: str
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    name = executorch_export.FILES[precision]
    (folder / name).unlink()
    monkeypatch.setattr(executorch_export, "export_executorch", lambda *_: shutil.copy(run / name, folder / name))
    options = ExportOptions(precision=precision, limits=limits)
    with pytest.raises(GanletError, match=f"{fault}.*was removed"):
        export.TARGETS["executorch"](load_stage(folder / "student"), folder, options, Silent())
    assert not (folder / name).exists() and not manifest_entry(folder, name)


@pytest.mark.slow
def test_threads_are_as_asked(run: Path) -> None:
    for threads in (2, 1):
        ExecuTorchRunner(run / "generator.pte", threads=threads)
        bindings = sys.modules["executorch.extension.pybindings.portable_lib"]
        assert bindings._threadpool_get_thread_count() == threads
    ExecuTorchRunner(run / "generator.pte", profile="small")


@pytest.mark.slow
def test_damaged_and_foreign_programs_are_refused(run: Path, tmp_path: Path) -> None:
    content = (run / "generator.pte").read_bytes()
    path = tmp_path / "generator.pte"
    for length in (9, 60, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(GanletError, match="not a whole ExecuTorch program"):
            ExecuTorchRunner(path)
    path.write_bytes(content[:64] + bytes(1500) + content[1564:])  # the header is whole, what it describes is not
    with pytest.raises(GanletError, match="cannot load"):
        ExecuTorchRunner(path)
    changed = bytearray(content)
    changed[-100] ^= 1
    path.write_bytes(changed)
    shutil.copy(run / "manifest.json", tmp_path)
    with pytest.raises(GanletError, match="was changed after it was made"):
        ExecuTorchRunner(path)
    foreign = content.replace(b"-1,1", b"-2,1")
    (tmp_path / "manifest.json").unlink()
    path.write_bytes(foreign)
    with pytest.raises(GanletError, match=r"is not a generator this Ganlet can read: got .*'range': '-2,1'"):
        ExecuTorchRunner(path)
    runner = ExecuTorchRunner(run / "generator.pte")
    with pytest.raises(GanletError, match=r"expected float32 \(1, 8\)"):
        runner({"z": np.zeros((1, 9), np.float32)})
    for provider in ("cuda", "openvino", "cpu"):
        with pytest.raises(GanletError, match="runs nowhere else"):
            ExecuTorchRunner(run / "generator.pte", provider=provider)


def test_without_the_packages_the_extra_is_named(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, ganlet: Callable[..., Answer]
) -> None:
    monkeypatch.setattr("ganlet.export.executorch_export.find_spec", lambda name: None)
    expect_refused(ganlet("export", finished_run, "--to", "executorch"), "executorch, torchao", "ganlet[train,cpu,exec")


def test_another_precision_is_refused(finished_run: Path, ganlet: Callable[..., Answer]) -> None:
    answer = ganlet("export", finished_run, "--to", "executorch", "--precision", "fp16")
    expect_refused(answer, "fp16", "fp32 or int8")


def test_a_program_needs_its_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "generator.pte"
    header = b"\0\0\0\0ET12eh00" + (32).to_bytes(4, "little") + bytes(24)
    path.write_bytes(header + b"XnnpackBackend")

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="executorch")

    monkeypatch.setattr("ganlet.device.runtimes.importlib.import_module", absent)
    with pytest.raises(GanletError, match=r'ExecuTorch is not installed; run `pip install "ganlet\[executorch\]"`'):
        ExecuTorchRunner(path)
    for content, fault in ((b"", "is empty"), (b"a picture", "begins otherwise"), (header, "no layer runs in XNNPACK")):
        path.write_bytes(content)
        with pytest.raises(GanletError, match=fault):
            ExecuTorchRunner(path)
    with pytest.raises(GanletError, match="does not exist"):
        ExecuTorchRunner(tmp_path / "none.pte")
