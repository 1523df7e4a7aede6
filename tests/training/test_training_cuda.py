"""Every step of training on tensors of device "cuda" without a card: what they hold is fake, where they lie is checked.

Fake tensors need a build of torch with CUDA, no card. They run forward only: the backward passes are left out here.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from ganlet.compress.distill import distill_plan
from ganlet.data import Batch
from ganlet.losses import CRITIC_LOSSES, GENERATOR_LOSSES, gradient_penalty
from ganlet.models.ports import draw_feed
from ganlet.recipe import Recipe
from ganlet.training.augment import AUGMENTATIONS, augment
from ganlet.training.ema import update_average
from ganlet.training.plan import Plan, build_state, planned_stage, teacher_plan
from ganlet.training.state import State

pytestmark = pytest.mark.skipif(torch.version.cuda is None, reason="this build of torch has no CUDA")

CARD = torch.device("cuda", 0)
BATCH, SIDE = 8, 16
MIXED = r"on the same device|different from other tensors"
TEACHERS: dict[str, dict[str, Any]] = {
    **{loss: {"teacher__loss": loss} for loss in CRITIC_LOSSES},
    "averaged, in parts": {"teacher__train__accumulate": 2, "teacher__train__real_label_low": 0.8},
    "augmented": {"teacher__train__augment": list(AUGMENTATIONS)},
    "of classes": {"teacher__classes": 10},
    "of classes, conditional batch norms": {"teacher__classes": 10, "teacher__condition": "batch-norm"},
    "of classes, projection": {
        "teacher__classes": 10,
        "teacher__critic": {"widths": [6, 8], "condition": "projection"},
    },
    "fully connected": {"teacher__family": "mlp", "distill": None},
    "fully connected, of classes": {"teacher__family": "mlp", "teacher__classes": 10, "distill": None},
}
STUDENTS: dict[str, dict[str, Any]] = {
    "features": {},
    "adapters and relation": {"distill__adapters": 1.0, "distill__relation": 1.0},
    "perceptual": {"distill__perceptual": 1.0},
    "gated, mixed with the teacher": {"distill__gate": 0.8, "distill__real_share": 0.5},
    "augmented": {"distill__train__augment": list(AUGMENTATIONS)},
    "of classes": {"teacher__classes": 10, "distill__real_share": 0.5},
}


@pytest.fixture(autouse=True)
def _forward_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fake tensors instead of real ones, and no pass backward: the engine of autograd asks for a card."""

    def slope(of: Tensor, by: Tensor, **options: Any) -> tuple[Tensor]:
        assert of.device == by.device == CARD
        return (torch.zeros_like(by),)

    def backward(loss: Tensor, *rest: Any, **options: Any) -> None:
        assert loss.device == CARD

    monkeypatch.setattr(torch.autograd, "grad", slope)
    monkeypatch.setattr(Tensor, "backward", backward)
    with FakeTensorMode():
        yield


def on_the_card(plan: Plan) -> State:
    """The state of a plan whose networks lie on the card: fake tensors cannot be moved there afterwards."""
    with torch.device(CARD):
        state = build_state(plan, None, "cpu")
    state.device = CARD
    networks = (state.networks() | state.still_networks()).values()
    assert {tensor.device for network in networks for tensor in network.state_dict().values()} == {CARD}
    return state


def step(plan: Plan, state: State) -> dict[str, Tensor]:
    pictures = torch.zeros(BATCH, 1, SIDE, SIDE)
    label = torch.zeros(BATCH, dtype=torch.int64)
    return plan.step(state, lambda position: Batch(pictures, label), torch.Generator().manual_seed(0), plan.section)


def student_plan(recipe: Recipe) -> Plan:
    return distill_plan(recipe, planned_stage(teacher_plan(recipe)))


def runs_on_the_card_alone(plan: Plan) -> None:
    """A whole step: every figure that it tells is on the card; with one side left on the processor it is refused."""
    state = on_the_card(plan)
    logs = step(plan, state)
    assert {"generator_loss"} < set(logs) and {value.device for value in logs.values()} == {CARD}
    if state.average is not None:
        update_average(state.average, state.generator, 0.5)
        assert {tensor.device for tensor in state.average.state_dict().values()} == {CARD}
    state.device = torch.device("cpu")  # pictures and draws stay there, the networks do not
    with pytest.raises(RuntimeError, match=MIXED):
        step(plan, state)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_step_of_a_teacher(name: str, make_recipe: Callable[..., Recipe]) -> None:
    runs_on_the_card_alone(teacher_plan(make_recipe(**TEACHERS[name])))


@pytest.mark.parametrize("name", STUDENTS)
def test_a_step_of_a_student(name: str, make_recipe: Callable[..., Recipe]) -> None:
    runs_on_the_card_alone(student_plan(make_recipe(**STUDENTS[name])))


def test_a_transfer_with_frozen_layers(make_recipe: Callable[..., Recipe]) -> None:
    plan = teacher_plan(make_recipe())
    runs_on_the_card_alone(replace(plan, freeze_generator=1, freeze_critic=1))


def test_a_teacher_left_on_the_processor_is_refused(make_recipe: Callable[..., Recipe]) -> None:
    plan = student_plan(make_recipe())
    state = on_the_card(plan)
    assert state.teacher is not None
    state.teacher = state.teacher.blank()
    with pytest.raises(RuntimeError, match=MIXED):
        step(plan, state)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_follows_its_pictures(name: str) -> None:
    for device in (CARD, torch.device("cpu")):
        changed = augment(torch.zeros(BATCH, 3, SIDE, SIDE, device=device), [name], torch.Generator())
        assert changed.device == device and changed.shape == (BATCH, 3, SIDE, SIDE)


def test_draws_go_to_the_card(make_recipe: Callable[..., Recipe]) -> None:
    state = on_the_card(teacher_plan(make_recipe(teacher__classes=10)))
    feed = draw_feed(state.generator.ports, BATCH, torch.Generator(), "cuda")
    assert {name: rows.device for name, rows in feed.items()} == {"z": CARD, "label": CARD}
    assert state.generator(**feed).device == CARD
    for name in feed:
        with pytest.raises(RuntimeError, match=MIXED):
            state.generator(**feed | {name: torch.zeros_like(feed[name], device="cpu")})


@pytest.mark.parametrize("loss", CRITIC_LOSSES)
def test_losses_refuse_scores_of_two_devices(loss: str) -> None:
    scores, target = torch.zeros(BATCH, device=CARD), torch.ones(BATCH, device=CARD)
    on_real, on_fake = CRITIC_LOSSES[loss]
    parts = [on_real(scores, target), on_fake(scores), GENERATOR_LOSSES[loss](scores)]
    assert {part.device for part in parts} == {CARD}
    if loss != "wgan-gp":  # which has no use for a target
        with pytest.raises(RuntimeError, match=MIXED):
            on_real(scores, target.cpu())


def test_the_gradient_penalty_refuses_an_epsilon_of_another_device() -> None:
    real, fake = torch.zeros(2, BATCH, 1, SIDE, SIDE, device=CARD)
    epsilon = torch.zeros(BATCH, device=CARD)
    score = lambda images: images.flatten(1).sum(dim=1)  # noqa: E731
    assert gradient_penalty(score, real, fake, epsilon).device == CARD
    with pytest.raises(RuntimeError, match=MIXED):
        gradient_penalty(score, real, fake, epsilon.cpu())
