"""The generator that draws in torch what its int8 file draws: against ONNX Runtime, numpy and derivatives by hand."""

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from ganlet.compress.fake_quant import (
    FakeQuantised,
    fake_quantised,
    fake_quantised_weight,
    folded,
    planned_scales,
    row_steps,
)
from ganlet.device import latents
from ganlet.export.forms import shuffled_weight
from ganlet.export.int8 import LayerScales, Scale, quantised_weight
from ganlet.export.onnx_export import onnx_bytes
from ganlet.export.sensitivity import Nearest, nearest_int8
from ganlet.models.dcgan import Generator, GeneratorConfig
from ganlet.models.families import build_generator

SHAPES: dict[str, dict[str, Any]] = {
    "transposed": {},
    "separable": {"block": "separable"},
    "resize": {"block": "resize"},
    "without norm": {"norm": "none"},
    "instance norm": {"norm": "instance"},  # not part of the weights: its result has a scale of its own
    "stride 1": {"kernels": (3, 4, 2), "strides": (1, 2, 2)},
    "a layer that stays in fp32": {"kernels": (5, 4, 2), "strides": (3, 2, 2)},  # 5 is no multiple of 3
    "separable, half of it in fp32": {"kernels": (5, 4, 2), "strides": (3, 2, 2), "block": "separable"},
    "one layer": {"widths": (12,), "kernels": (4,), "strides": (2,)},
}
RUN_BY_THE_LETTER = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
FUSED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def config(shape: str) -> GeneratorConfig:
    base = {"latent": 7, "widths": (13, 10, 6), "strides": (2, 2, 2), "kernels": (4, 4, 2), "channels": 3}
    return GeneratorConfig.model_validate(base | SHAPES[shape])


@cache
def generator(shape: str) -> Generator:
    """One whose channels differ, as after training."""
    torch.manual_seed(5)
    made = build_generator(config(shape))
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            tensor.uniform_(0.4, 1.6)
            if name.endswith(("bias", "mean")):
                tensor.sub_(1.0)
    return made.eval()


@cache
def in_int8(shape: str, profile: str) -> Nearest:
    return nearest_int8(onnx.load_from_string(onnx_bytes(generator(shape), "")), profile, count=16)


def drawn(model: ModelProto, how: Any) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = how, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"z": latents(1, 0, 48, 7)})[0])


def psnr_db(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(10 * np.log10(4 / np.square(one.astype(np.float64) - other).mean()))


def faked(shape: str, near: Nearest) -> FakeQuantised:
    made = FakeQuantised(config(shape), near.scales)
    made.load_state_dict(generator(shape).state_dict())
    return made


@pytest.mark.parametrize("profile", ["cpu-int8", "trt-int8"])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_it_draws_what_the_int8_file_draws(shape: str, profile: str) -> None:
    near = in_int8(shape, profile)
    z = torch.from_numpy(latents(1, 0, 48, 7))
    plain = generator(shape)(z).numpy()
    mine = faked(shape, near).train()(z).numpy()
    apart_db = psnr_db(plain, mine)
    assert psnr_db(drawn(near.model, RUN_BY_THE_LETTER), mine) > apart_db + 30  # but for ties
    kernels = drawn(near.model, FUSED)  # which round biases and sums in their own way
    assert psnr_db(kernels, mine) > apart_db + (2 if "fp32" in shape else 12)
    assert psnr_db(kernels, plain) == pytest.approx(apart_db, abs=0.3)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_hidden_layers_end_in_the_picture_and_the_weights_are_a_plain_generators(shape: str) -> None:
    made, z = faked(shape, in_int8(shape, "cpu-int8")), torch.from_numpy(latents(1, 0, 3, 7))
    *maps, images = made.features(z)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (width, *size) for width, size in zip(made.config.widths, made.config.map_sizes, strict=False)
    ]
    assert torch.equal(images, made.eval()(z))
    assert made.state_dict().keys() == generator(shape).state_dict().keys()
    again = made.blank()
    again.load_state_dict(made.state_dict())
    assert isinstance(again, FakeQuantised) and torch.equal(again(z), images)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_plan_knows_which_layers_will_be_in_int8(shape: str) -> None:
    planned, found = planned_scales(config(shape)), in_int8(shape, "cpu-int8").scales
    assert {name: s.entering is None for name, s in planned.items()} == {
        name: s.entering is None for name, s in found.items()
    }


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("entering", [1, 3, 4])
def test_steps_of_weights_are_the_files(entering: int) -> None:
    """Against numpy's, which the file is written by: pairs of neighbours, odd numbers of them, rows of zeros."""
    weight = np.random.default_rng(0).standard_normal((6, entering, 3, 3)).astype(np.float32)
    weight[2] = 0
    weight[3] = np.abs(weight[3])  # of one sign: its pairs decide
    integers, steps = quantised_weight(weight, 0)
    rows = torch.from_numpy(weight).permute(0, 2, 3, 1).reshape(6, -1)
    torch.testing.assert_close(row_steps(rows), torch.from_numpy(steps), rtol=1e-6, atol=0)
    rounded = fake_quantised_weight(torch.from_numpy(weight), nn.Conv2d(entering, 6, 3), 1)
    assert np.array_equal(np.rint(rounded.numpy() / steps.reshape(-1, 1, 1, 1)), integers)


@pytest.mark.parametrize(("groups", "stride", "kernel"), [(1, 2, 4), (1, 1, 3), (1, 3, 6), (4, 2, 4)])
def test_a_transposed_convolution_has_a_row_for_every_output_phase(groups: int, stride: int, kernel: int) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(4, 8, kernel, stride, groups=groups)
    rounded = fake_quantised_weight(layer.weight, layer, stride).detach().numpy()
    rows = shuffled_weight(layer.weight.detach().numpy(), stride, groups)
    integers, steps = quantised_weight(rows, 0)
    expected = integers * steps.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(shuffled_weight(rounded, stride, groups), expected, rtol=1e-5, atol=1e-7)
    assert len(set(steps.tolist())) == 8 * stride**2


# ---------------------------------------------------------------- gradients


def test_rounding_lets_gradients_through_within_the_range_and_stops_them_beyond() -> None:
    x = torch.tensor([-99.0, -64.1, -0.2, 0.0, 0.26, 63.4, 63.9, 99.0], requires_grad=True)
    along = torch.arange(1.0, 9.0)
    y = fake_quantised(x, Scale(0.5))  # -64 ... 63.5
    assert y.tolist() == [-64.0, -64.0, 0.0, 0.0, 0.5, 63.5, 63.5, 63.5]
    (found,) = torch.autograd.grad(y @ along, x)
    assert found.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]  # 63.9 is the step 128, which there is not
    (found,) = torch.autograd.grad(fake_quantised(x, Scale(0.5, unsigned=True)) @ along, x)  # 0 ... 127.5, and the ReLU
    assert found.tolist() == [0.0, 0.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


def test_gradients_of_a_layer_are_those_by_hand() -> None:
    """Straight through every rounding: dL/dw = x v f gamma, dL/dgamma = sum of (x v w + (b - mean) v) f."""
    torch.manual_seed(3)
    layer, norm = nn.ConvTranspose2d(3, 2, 4), nn.BatchNorm2d(2)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert tensor is not None
        nn.init.uniform_(tensor, 0.5, 1.5)
    network = FakeQuantised(GeneratorConfig(latent=3, widths=(2,), strides=(1,), kernels=(3,), channels=1), {})
    network.scales = {"layer1.0": LayerScales(Scale(0.05), Scale(0.04))}
    x, along = torch.randn(5, 3, 1, 1), torch.randn(5, 2, 4, 4)
    y = network._convolution("layer1.0", layer, norm, x)
    found = torch.autograd.grad((y * along).sum(), [layer.weight, norm.weight, norm.bias])
    factor = 1 / torch.sqrt(norm.running_var + norm.eps)  # type: ignore[operator]
    seen = fake_quantised(x, Scale(0.05))[:, :, 0, 0]
    reached = torch.where((y.abs() < 127 * 0.04), along, 0.0)  # (5, 2, 4, 4)
    by_weight = torch.einsum("ni,nohw->iohw", seen, reached)
    shape = (1, 2, 1, 1)
    torch.testing.assert_close(found[0], by_weight * (factor * norm.weight).reshape(shape))
    shift = (layer.bias - norm.running_mean) * reached.sum((0, 2, 3))  # type: ignore[operator]
    by_gamma = ((by_weight * layer.weight).sum((0, 2, 3)) + shift) * factor
    torch.testing.assert_close(found[1], by_gamma)
    torch.testing.assert_close(found[2], reached.sum((0, 2, 3)))


@torch.no_grad()
def test_a_norm_in_the_weights_draws_what_it_drew_behind_them() -> None:
    for layer in (nn.ConvTranspose2d(3, 4, 4, 2, 1), nn.Conv2d(3, 4, 3, bias=False)):
        norm = nn.BatchNorm2d(4).eval()
        for tensor in norm.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
        x = torch.randn(2, 3, 5, 5)
        weight, bias = folded(layer, norm)
        assert bias is not None
        again: Tensor = torch.func.functional_call(_biased(layer), {"weight": weight, "bias": bias}, (x,))
        torch.testing.assert_close(again, norm(layer(x)), rtol=1e-5, atol=1e-5)


def _biased(layer: nn.Module) -> nn.Module:
    if layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(4))
    return layer


def test_statistics_of_the_norms_stay_as_they_are_while_it_trains() -> None:
    made = faked("transposed", in_int8("transposed", "cpu-int8")).train()
    before = {name: tensor.clone() for name, tensor in made.named_buffers()}
    made(torch.randn(4, 7)).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.named_buffers())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())
