"""Everything that training changes, its random draws, and how it is kept on disk."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganlet.errors import GanletError
from ganlet.losses.perceptual import PerceptualNet
from ganlet.models.adapters import Adapters
from ganlet.models.base import Critic, Generator
from ganlet.recipe import Train
from ganlet.training.checkpoint import Say, open_checkpoint, write_checkpoint
from ganlet.training.evaluate import Best
from ganlet.training.thaw import Frozen


@dataclass
class State:
    """Networks and optimisers of one training stage, at the end of `step` steps."""

    generator: Generator
    critic: Critic
    generator_adam: torch.optim.Adam
    critic_adam: torch.optim.Adam
    average: Generator | None
    """The averaged generator (EMA), or None where the recipe switches it off."""
    teacher: Generator | None
    """Of distillation: frozen and in eval mode."""
    adapters: Adapters | None
    """Of distillation: between hidden layers of both generators, trained along with the student."""
    perceptual: PerceptualNet | None
    """Of distillation: the net of its perceptual distance, never trained."""
    scaler: torch.amp.GradScaler
    device: torch.device
    autocast: bool = False
    """Whether mixed precision is on."""
    step: int = 0
    best: Best | None = None
    """Kept where the recipe evaluates while training."""
    frozen: Frozen = field(default_factory=Frozen)
    """Layers that do not learn, or not yet."""

    @property
    def current(self) -> Generator:
        """The generator as it is now: the averaged one, where there is one."""
        return self.generator if self.average is None else self.average

    @property
    def result(self) -> Generator:
        """The generator that the stage hands on: the best one that was measured, else the current one."""
        return self.best.generator if self.best is not None and self.best.step else self.current

    def networks(self) -> dict[str, nn.Module]:
        """What changes while training, by the name it has in a checkpoint."""
        named: dict[str, nn.Module] = {"generator": self.generator, "critic": self.critic}
        named |= {} if self.adapters is None else {"adapters": self.adapters}
        named |= {} if self.average is None else {"average": self.average}
        return named if self.best is None else named | {"best": self.best.generator}

    def still_networks(self) -> dict[str, nn.Module]:
        """What only helps and never changes."""
        named = {"teacher": self.teacher, "perceptual": self.perceptual}
        return {name: network for name, network in named.items() if network is not None}

    def optimisers(self) -> dict[str, torch.optim.Adam]:
        return {"generator_adam": self.generator_adam, "critic_adam": self.critic_adam}


def make_state(
    generator: Generator,
    critic: Critic,
    teacher: Generator | None,
    train: Train,
    device: str,
    adapters: Adapters | None = None,
    perceptual: PerceptualNet | None = None,
) -> State:
    """Optimisers and the average for two networks. What needs no gradient gets no optimiser state.

    The adapters of a distillation are trained by the generator's optimiser.
    """
    place = torch.device(device)
    average = generator.blank().eval().requires_grad_(False) if train.ema else None
    best = generator.blank().eval().requires_grad_(False) if train.evaluate_steps else None
    if place.type != "cpu":  # new networks are on the processor; fake tensors cannot be moved even there
        for network in (generator, critic, average, teacher, best, adapters, perceptual):
            if network is not None:
                network.to(place)
    if average is not None:
        average.load_state_dict(generator.state_dict())
    if best is not None:
        best.load_state_dict(generator.state_dict())
    if teacher is not None:
        teacher.eval().requires_grad_(False)

    def adam(lr: float, *networks: nn.Module) -> torch.optim.Adam:
        trained = [p for network in networks for p in network.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=lr, betas=train.betas, foreach=True)

    scaler = torch.amp.GradScaler(place.type, enabled=train.amp == "fp16" and place.type == "cuda")
    return State(
        generator=generator,
        critic=critic,
        generator_adam=adam(train.lr, generator, *([] if adapters is None else [adapters])),
        critic_adam=adam(train.lr_critic or train.lr, critic),
        average=average,
        teacher=teacher,
        adapters=adapters,
        perceptual=perceptual,
        scaler=scaler,
        device=place,
        autocast=train.amp != "off" and place.type == "cuda",
        best=None if best is None else Best(best),
    )


def seed_of(*parts: object) -> int:
    """A 63-bit seed that depends on every part."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def random_at(seed: int, stage: str, step: int) -> torch.Generator:
    """The random numbers of one step: a function of its number, so that resuming needs no generator state."""
    return torch.Generator().manual_seed(seed_of(seed, stage, step))


# ---------------------------------------------------------------- checkpoints


def _tensors(state: State) -> Iterator[tuple[str, Tensor]]:
    for name, network in state.networks().items():
        for key, tensor in network.state_dict().items():
            yield f"{name}.{key}", tensor
    for name, optimiser in state.optimisers().items():
        for number, moments in optimiser.state_dict()["state"].items():
            for key, tensor in moments.items():
                yield f"{name}.{number}.{key}", tensor


def save_checkpoint(state: State, folder: Path, key: str, rests_on: dict[str, Any] | None = None) -> None:
    """Write the whole state as the newest checkpoint of `folder`. `key` names the stage that it belongs to, `rests_on`
    says what the key was made of.
    """
    note = {"key": key, "step": state.step, "scale": state.scaler.get_scale()}
    if rests_on is not None:
        note["rests_on"] = rests_on
    if state.best is not None:
        note["best"] = state.best.note()
    write_checkpoint(folder, dict(_tensors(state)), note)


def load_checkpoint(state: State, folder: Path, key: str, say: Say = lambda text: None) -> bool:
    """Continue from a checkpoint of the same stage. False when there is none, or when it belongs to another recipe.

    Raises GanletError when it is damaged or does not fit the networks.
    """
    found = open_checkpoint(folder, say)
    if found is None or found.key != key:
        return False
    tensors = found.tensors()
    state.step = found.step
    state.frozen.thaw(state.step)  # so that the optimisers know the weights that they had moments of
    try:
        for name, network in state.networks().items():
            network.load_state_dict({k: tensors.pop(f"{name}.{k}") for k in network.state_dict()})
        for name, optimiser in state.optimisers().items():
            _load_adam(optimiser, {k: tensors.pop(k) for k in list(tensors) if k.startswith(f"{name}.")})
        if tensors:
            raise KeyError(next(iter(tensors)))
        if state.best is not None:
            state.best.restore(found.note["best"])
    except (LookupError, RuntimeError, ValueError, TypeError) as error:
        raise GanletError(
            f"Checkpoint {found.path} does not fit this recipe's networks; delete it to start the stage again."
        ) from error
    if state.scaler.is_enabled():
        state.scaler.update(found.note["scale"])
    return True


def _load_adam(optimiser: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    """Give the optimiser its moments. Raises KeyError, IndexError or ValueError where they are of other weights."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        _, number, key = name.split(".")
        if key != "step" and tensor.shape != weights[int(number)].shape:
            raise ValueError(f"{name} has the shape of another weight")
        moments.setdefault(int(number), {})[key] = tensor
    if any(known.keys() != {"step", "exp_avg", "exp_avg_sq"} for known in moments.values()):
        raise KeyError("moments of Adam")
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})
