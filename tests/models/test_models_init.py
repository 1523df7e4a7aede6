"""Weights before training: from the seed alone, or the teacher's strongest channels."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlet.compress.prune import zero_channels
from ganlet.models.dcgan import CriticConfig, Generator, GeneratorConfig
from ganlet.models.families import build_critic, build_generator
from ganlet.models.init import can_start_from, copy_strongest_channels, initialise

TEACHER = GeneratorConfig(latent=7, widths=(12, 10, 8), strides=(4, 2, 2), kernels=(8, 4, 4), channels=3)


def config(**changes: Any) -> GeneratorConfig:
    return GeneratorConfig.model_validate(TEACHER.model_dump() | changes)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def trained(of: GeneratorConfig) -> Generator:
    """A generator whose weights, affine parameters (of either sign) and running statistics are all random."""
    generator = build_generator(of).eval()
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in generator.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=rng)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.5, generator=rng)
            else:
                tensor.fill_(17)
    return generator


# ---------------------------------------------------------------- from a seed


def tensor_is_fixed(name: str, tensor: Tensor) -> bool:
    """Biases and norms start at 0 and 1; a unit vector of one number is 1 or -1 whatever the seed."""
    return name.endswith("bias") or ".1." in name or tensor.numel() == 1


@pytest.mark.parametrize("spectral", [False, True])
def test_weights_depend_on_the_seed_alone(spectral: bool) -> None:
    def made(seed: int, of_torch: int) -> dict[str, Tensor]:
        torch.manual_seed(of_torch)
        critic = build_critic(CriticConfig(widths=(4, 6), channels=3, norm="instance", spectral=spectral))
        state = torch.get_rng_state()
        initialise(critic, seed)
        assert torch.equal(torch.get_rng_state(), state)  # the global generator is left where it was
        return critic.state_dict()

    one, same, other = made(1, 10), made(1, 20), made(2, 10)
    for name in one:
        assert torch.equal(one[name], same[name]), name
        assert not torch.equal(one[name], other[name]) or tensor_is_fixed(name, one[name]), name
        if name.endswith(("_u", "_v")):
            assert one[name].norm().item() == pytest.approx(1, abs=1e-5)
    convolutions = [name for name, v in one.items() if v.dim() == 4]
    assert len(convolutions) == 3


def test_the_distribution_of_radford() -> None:
    generator = trained(config(widths=(64, 32, 16)))
    initialise(generator, 0)
    for layer in generator.layers():
        weight = layer[0].weight.detach()
        error = 0.02 / (2 * weight.numel()) ** 0.5
        assert (
            abs(weight.std().item() - 0.02) < 5 * error
            and abs(weight.mean().item()) < 5 * 0.02 * weight.numel() ** -0.5
        )
        assert not layer[0].bias.any()
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 3  # the docstring says: norms 1 and 0, whatever the network was before
    assert all((m.weight == 1).all() and not m.bias.any() for m in norms)


# ---------------------------------------------------------------- from a teacher


@pytest.mark.parametrize("block", ["transposed", "separable", "resize"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_equal_widths_copy_the_teacher_exactly(norm: Any, block: Any) -> None:
    teacher, student = trained(config(norm=norm, block=block)), build_generator(config(norm=norm, block=block)).eval()
    assert can_start_from(student.config, teacher.config) is None
    copy_strongest_channels(student, teacher)
    assert teacher.state_dict().keys() == student.state_dict().keys()
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(student.state_dict()[name], tensor), name
    with torch.no_grad():
        assert torch.equal(student(drawn(4, 7)), teacher(drawn(4, 7)))


def strongest(teacher: Generator, widths: tuple[int, ...]) -> list[np.ndarray]:
    """Kept channels of each hidden layer, recomputed in numpy: |gamma| x Frobenius norm over the kept inputs."""
    state = {name: value.numpy() for name, value in teacher.state_dict().items()}
    entering, kept = np.arange(teacher.config.latent), []
    for number, width in enumerate(widths, start=1):
        weight = state[f"layer{number}.0.weight"].astype(np.float64)[entering]
        gamma = np.abs(state.get(f"layer{number}.1.weight", np.ones(weight.shape[1])).astype(np.float64))
        scores = [gamma[out] * np.sqrt((weight[:, out] ** 2).sum()) for out in range(weight.shape[1])]
        entering = np.array(sorted(np.argsort(scores)[::-1][:width]))
        kept.append(entering)
    return kept


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_a_narrower_student_holds_exactly_the_strongest_channels(norm: Any) -> None:
    widths = (5, 7, 3)
    teacher, student = trained(config(norm=norm)), build_generator(config(norm=norm, widths=widths))
    copy_strongest_channels(student, teacher)
    theirs, mine = teacher.state_dict(), student.state_dict()
    entering = np.arange(7)
    for number, kept in enumerate(strongest(teacher, widths), start=1):
        assert len(kept) == widths[number - 1]
        np.testing.assert_array_equal(
            mine[f"layer{number}.0.weight"].numpy(), theirs[f"layer{number}.0.weight"].numpy()[np.ix_(entering, kept)]
        )
        for name, value in theirs.items():
            if name.startswith(f"layer{number}.") and value.dim() == 1:
                np.testing.assert_array_equal(mine[name].numpy(), value.numpy()[kept], err_msg=name)
            if name.startswith(f"layer{number}.") and value.dim() == 0:
                assert mine[name] == value
        entering = kept
    np.testing.assert_array_equal(mine["final.0.weight"].numpy(), theirs["final.0.weight"].numpy()[entering])
    np.testing.assert_array_equal(mine["final.0.bias"].numpy(), theirs["final.0.bias"].numpy())


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_the_teacher_without_its_dropped_channels_draws_the_students_pictures(norm: Any) -> None:
    widths = (5, 7, 3)
    teacher, student = trained(config(norm=norm)), build_generator(config(norm=norm, widths=widths)).eval()
    copy_strongest_channels(student, teacher)
    whole = teacher(drawn(4, 7))
    # A hidden channel feeds only the next layer's weights of that input, so cutting those wires removes it.
    with torch.no_grad():
        for kept, layer in zip(strongest(teacher, widths), teacher.layers()[1:], strict=True):
            dropped = np.setdiff1d(np.arange(layer[0].in_channels), kept)
            layer[0].weight[torch.from_numpy(dropped)] = 0
        cut, mine = teacher(drawn(4, 7)), student(drawn(4, 7))
    torch.testing.assert_close(mine, cut, rtol=0, atol=1e-5)
    assert (whole - cut).abs().max() > 0.1


def test_a_student_with_a_layer_fewer_copies_what_it_shares_with_its_teacher() -> None:
    """The base work's student: its second layer jumps where the teacher takes two. First and last layer are shared."""
    teacher = trained(config(widths=(12, 10, 8), strides=(2, 2, 2), kernels=(4, 4, 4)))
    student = build_generator(config(widths=(5, 3), strides=(4, 2), kernels=(8, 4)))
    initialise(student, 1)
    before = copy.deepcopy(student.state_dict())
    assert can_start_from(student.config, teacher.config) is None
    copy_strongest_channels(student, teacher)
    mine, theirs = student.state_dict(), teacher.state_dict()
    first = strongest(teacher, (5, 10, 8))[0]
    np.testing.assert_array_equal(mine["layer1.0.weight"].numpy(), theirs["layer1.0.weight"].numpy()[:, first])
    np.testing.assert_array_equal(mine["layer1.1.weight"].numpy(), theirs["layer1.1.weight"].numpy()[first])
    for name in before:  # an 8 x 8 kernel in place of a 4 x 4 one
        assert not name.startswith("layer2.") or torch.equal(mine[name], before[name]), name
    last = strongest(teacher, (12, 10, 3))[2]  # the third layer's strongest of all, which make maps of the same size
    np.testing.assert_array_equal(mine["final.0.weight"].numpy(), theirs["final.0.weight"].numpy()[last])
    np.testing.assert_array_equal(mine["final.0.bias"].numpy(), theirs["final.0.bias"].numpy())


@pytest.mark.parametrize("block", ["separable", "resize"])
def test_a_student_of_other_blocks_copies_its_first_and_last_layer(block: Any) -> None:
    teacher = trained(TEACHER)
    student = build_generator(config(widths=(5, 7, 3), block=block))
    initialise(student, 1)
    before = copy.deepcopy(student.state_dict())
    copy_strongest_channels(student, teacher)
    changed = {
        name.split(".")[0] for name, value in student.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"layer1", "final"}


@pytest.mark.parametrize("widths", [(5, 7, 3), (1, 7, 1)])
@pytest.mark.parametrize("block", ["separable", "resize"])
def test_a_narrower_student_of_its_teachers_blocks_draws_as_it_does_without_the_rest(block: Any, widths: Any) -> None:
    teacher = trained(config(block=block))
    student = build_generator(config(widths=widths, block=block)).eval()
    initialise(student, 1)
    scores = [drawn(width) for width in teacher.config.widths]
    copy_strongest_channels(student, teacher, scores)
    kept = [score.topk(width).indices.sort().values for score, width in zip(scores, widths, strict=True)]
    with torch.no_grad():
        torch.testing.assert_close(student(drawn(4, 7)), zero_channels(teacher, kept)(drawn(4, 7)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher", "words"),
    [
        ({"latent": 8}, {}, "the student's latent 8 differs from the teacher's 7"),
        ({"norm": "none"}, {}, "norm none differs from the teacher's batch"),
        ({"channels": 1}, {}, "channels 1 differs"),
        ({"widths": (12, 11, 8)}, {}, "widths (12, 11, 8) exceed the teacher's (12, 10, 8)"),
        ({"spectral": True}, {}, "spectral normalisation"),
        ({}, {"spectral": True}, "spectral normalisation"),
        ({"widths": (13, 4), "strides": (4, 4), "kernels": (8, 8)}, {}, "widths (13, 4) exceed"),
    ],
)
def test_what_stands_in_the_way(student: dict[str, Any], teacher: dict[str, Any], words: str) -> None:
    obstacle = can_start_from(config(**student), config(**teacher))
    assert obstacle is not None and words in obstacle
