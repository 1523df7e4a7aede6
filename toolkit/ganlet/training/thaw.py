"""Layers that stay as they are, and when one after the other begins to learn after all."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class Frozen:
    """The frozen layers of some networks, each network's outermost last, beside the optimiser of its other layers.

    At each of `thaw_steps` every network's outermost frozen layer, the one next to those that learn, begins to learn
    too: gradual unfreezing (Howard and Ruder 2018, ULMFiT, section 3.3), where what is most general waits longest.
    """

    layers: list[tuple[list[nn.Sequential], torch.optim.Adam]] = field(default_factory=list)
    thaw_steps: tuple[int, ...] = ()
    thawed: int = 0
    """How many of `thaw_steps` are over."""

    def thaw(self, step: int) -> bool:
        """Thaw what is due before step number `step` (from 0). True where anything did.

        A thawed weight has fresh moments: its optimiser takes note of it from here on. The rest of a checkpoint's
        state is found in the same order again, whatever the number of sittings.
        """
        due = sum(at <= step for at in self.thaw_steps)
        changed = False
        while self.thawed < due:
            self.thawed += 1
            for layers, adam in self.layers:
                changed |= bool(layers)
                if layers:
                    adam.add_param_group({"params": list(layers.pop().requires_grad_(True).parameters())})
        return changed


def freeze(layers: Sequence[nn.Sequential]) -> list[nn.Sequential]:
    """The same layers without gradients: no optimiser state, and no stored activations of a generator's first ones."""
    return [layer.requires_grad_(False) for layer in layers]
