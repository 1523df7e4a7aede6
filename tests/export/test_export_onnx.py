"""The exported file: the same pictures at any batch, the same bytes each time, nothing of this machine inside."""

import getpass
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import ganlet
from ganlet.artifact import load_stage
from ganlet.device import OnnxRunner, latents
from ganlet.device.feed import feed_at, label_port, z_port
from ganlet.errors import GanletError
from ganlet.export import export_onnx
from ganlet.export.onnx_export import onnx_bytes, without_spectral_norm
from ganlet.files import read_json
from ganlet.models.dcgan import Generator, GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.models.init import initialise
from ganlet.models.ports import as_tensors
from ganlet.training.load import load_generator


def trained_looking(
    norm: str = "batch", spectral: bool = False, strides: tuple[int, ...] = (2, 2), block: str = "transposed"
) -> Generator:
    """A generator whose norms are not at their starting values."""
    config = GeneratorConfig(
        latent=8,
        widths=(12, 6)[: len(strides)],
        strides=strides,
        kernels=tuple(2 * s for s in strides),
        channels=3,
        norm=norm,  # type: ignore[arg-type]
        spectral=spectral,
        block=block,  # type: ignore[arg-type]
    )
    generator = build_generator(config)
    initialise(generator, 0)
    drawn = torch.Generator().manual_seed(1)
    for module in generator.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=drawn))  # type: ignore[union-attr]
            module.running_var.copy_(torch.rand(module.num_features, generator=drawn) + 0.5)  # type: ignore[union-attr]
    for _ in range(20 if spectral else 0):  # lets the power iteration find the largest singular value
        generator.train()(torch.randn(2, 8, generator=drawn))
    return generator.eval()


@pytest.mark.parametrize(
    ("norm", "spectral", "strides", "block"),
    [
        ("batch", False, (2, 2), "transposed"),
        ("batch", False, (4, 2), "transposed"),
        ("instance", False, (2, 2), "transposed"),
        ("none", True, (2, 2), "transposed"),
        ("batch", False, (2, 2), "separable"),
        ("batch", False, (4, 2), "resize"),
        ("none", True, (2, 2), "separable"),
    ],
)
def test_onnx_runtime_draws_what_torch_draws(norm: str, spectral: bool, strides: tuple[int, ...], block: str) -> None:
    generator = trained_looking(norm, spectral, strides, block)
    before = {batch: generator(torch.from_numpy(latents(0, 0, batch, 8))).detach().numpy() for batch in (1, 4, 7, 64)}
    session = onnxruntime.InferenceSession(onnx_bytes(generator, "abc"))
    for batch, expected in before.items():
        (got,) = session.run(None, {"z": latents(0, 0, batch, 8)})
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert expected.std() > 1e-4  # not a constant picture


@pytest.mark.parametrize("condition", ["concatenate", "batch-norm"])
def test_a_conditional_generator_keeps_its_label_and_the_names_of_its_classes(condition: Any, tmp_path: Path) -> None:
    names = ("cat", "кот")
    config = trained_looking().config.model_dump() | {"classes": 2, "class_names": names, "condition": condition}
    generator = build_generator(GeneratorConfig.model_validate(config)).eval()
    for number, parameter in enumerate(generator.parameters()):
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(number))
    feed = feed_at(generator.ports, 0, 0, 7)
    with torch.no_grad():
        expected = generator(**as_tensors(feed)).numpy()
    path = tmp_path / "generator.onnx"
    path.write_bytes(onnx_bytes(generator, "abc"))
    runner = OnnxRunner(path)
    assert runner.ports == generator.ports == (z_port(8), label_port(2, names))
    np.testing.assert_allclose(runner(feed), expected, atol=1e-5)
    other = runner(feed | {"label": 1 - feed["label"]})
    assert all(np.abs(one - two).max() > 0.01 for one, two in zip(other, expected, strict=True))


def test_the_file_says_what_it_is(finished_run: Path) -> None:
    model = onnx.load(finished_run / "generator.onnx")
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    stage = load_stage(finished_run / "student")
    assert metadata == {
        "ganlet_schema": "1",
        "latent": "8",
        "range": "-1,1",
        "recipe_sha256": stage.config["provenance"]["recipe_sha256"],
        # Latent 8, widths 6 and 4, 16 x 16 grey: 2 (8 6 + 6 4 4^2 + 4 1 8^2) 4^2, multiplication and addition apart.
        "flop_per_picture": str(2 * (8 * 6 + 6 * 4 * 4**2 + 4 * 1 * 8**2) * 4**2),
    }
    assert [i.name for i in model.graph.input] == ["z"] and [o.name for o in model.graph.output] == ["images"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    entry = read_json(finished_run / "manifest.json")["files"]["generator.onnx"]
    assert entry["made_from"] == {"stage": "student", "weights_sha256": stage.weights_sha256}


def test_the_same_weights_give_the_same_bytes_without_paths(finished_run: Path, tmp_path: Path) -> None:
    content = (finished_run / "generator.onnx").read_bytes()
    copied = tmp_path / "elsewhere" / "student"
    shutil.copytree(finished_run / "student", copied)
    again = export_onnx(load_stage(copied), tmp_path / "elsewhere")
    assert again.read_bytes() == content
    package = str(Path(ganlet.__file__).parent)
    for leak in (package, str(Path.cwd()), tempfile.gettempdir(), "site-packages", f"/{getpass.getuser()}/"):
        assert leak.encode() not in content


def test_export_uses_the_averaged_weights_in_eval_mode(finished_run: Path) -> None:
    generator = load_generator(load_stage(finished_run / "student"))
    z = latents(5, 0, 3, 8)
    expected = generator(torch.from_numpy(z)).detach().numpy()
    np.testing.assert_allclose(OnnxRunner(finished_run / "generator.onnx")({"z": z}), expected, atol=1e-5)
    one_by_one = np.concatenate([OnnxRunner(finished_run / "generator.onnx")({"z": row[None]}) for row in z])
    np.testing.assert_allclose(one_by_one, expected, atol=1e-5)  # train mode would mix the pictures of a batch


def test_spectral_norm_is_gone_and_changes_nothing() -> None:
    generator = trained_looking("none", spectral=True)
    z = torch.from_numpy(latents(0, 0, 2, 8))
    before = generator(z)
    without_spectral_norm(generator)
    assert not any("parametrizations" in name for name in generator.state_dict())
    torch.testing.assert_close(generator(z), before)


def test_a_damaged_stage_is_not_exported(finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run / "student", tmp_path / "student")
    weights = tmp_path / "student" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(GanletError, match="was changed or cut short"):
        export_onnx(load_stage(tmp_path / "student"), tmp_path)
    assert not (tmp_path / "generator.onnx").exists()
