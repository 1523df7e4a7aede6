"""The averaged generator."""

import pytest
import torch
from torch import nn

from ganlet.models.dcgan import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.training.ema import decay_at, update_average

CONFIG = GeneratorConfig(latent=3, widths=(4, 2), strides=(2, 2), kernels=(4, 4), channels=1)


@pytest.mark.parametrize(
    ("step", "decay", "expected"),
    [(0, 0.999, 0.1), (8, 0.999, 0.5), (80, 0.999, 0.9), (80, 0.8, 0.8), (10**6, 0.995, 0.995), (0, 0.05, 0.05)],
)
def test_the_ramp(step: int, decay: float, expected: float) -> None:
    assert decay_at(step, decay) == pytest.approx(expected)


def test_the_ramp_rises_to_the_decay_and_stays() -> None:
    values = [decay_at(step, 0.99) for step in range(2000)]
    assert values == sorted(values) and values[-1] == 0.99
    assert values.index(0.99) == 890  # (1 + s) / (10 + s) = 0.99 at s = 890


def pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    average, current = build_generator(CONFIG), build_generator(CONFIG)
    with torch.no_grad():
        for network in (average, current):
            network(torch.randn(4, 3))  # moves the running statistics
    return average, current


def test_one_update_by_hand_for_weights_and_running_statistics() -> None:
    average, current = pair()
    current(torch.randn(4, 3))
    before = {name: v.clone().double() for name, v in average.state_dict().items()}
    theirs = {name: v.clone() for name, v in current.state_dict().items()}
    update_average(average, current, 0.9)
    for name, found in average.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert found == 2 and found.dtype == torch.int64
        else:
            expected = 0.9 * before[name] + 0.1 * theirs[name].double()
            torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)
            assert not torch.equal(found.double(), before[name]) or torch.equal(before[name].float(), theirs[name])
    assert all(torch.equal(v, theirs[name]) for name, v in current.state_dict().items())


def test_singular_vectors_keep_their_length() -> None:
    torch.manual_seed(2)
    spectral = CONFIG.model_copy(update={"spectral": True})
    average, current = build_generator(spectral), build_generator(spectral)
    for _ in range(5):
        with torch.no_grad():
            for parameter in current.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
            current.train()(torch.randn(4, 3))  # a power iteration
        update_average(average, current, 0.9)
    vectors = [v for name, v in average.state_dict().items() if name.endswith(("._u", "._v"))]
    assert vectors and all(v.norm().item() == pytest.approx(1, abs=1e-5) for v in vectors)


def test_many_updates_are_the_geometric_sum() -> None:
    average, current = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    values = [3.0, -1.0, 4.0, 1.0, -5.0]
    nn.init.constant_(average.weight, 2.0)
    for value in values:
        nn.init.constant_(current.weight, value)
        update_average(average, current, 0.75)
    expected = 0.75**5 * 2 + sum(0.25 * 0.75 ** (4 - i) * value for i, value in enumerate(values))
    assert average.weight.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1, 0.5, 0.995, 1 - 1e-9])
def test_what_is_equal_stays_bit_equal(decay: float) -> None:
    average, current = pair()
    average.load_state_dict(current.state_dict())
    update_average(average, current, decay)
    assert all(torch.equal(v, current.state_dict()[name]) for name, v in average.state_dict().items())


def test_no_decay_is_a_copy_and_no_gradients_are_kept() -> None:
    average, current = pair()
    update_average(average, current, 0.0)
    for name, value in average.state_dict().items():
        torch.testing.assert_close(value, current.state_dict()[name], rtol=0, atol=0, msg=name)
    assert all(p.grad_fn is None and p.is_leaf for p in average.parameters())
