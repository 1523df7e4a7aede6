"""What operators hold on the processor beside their inputs and results, convolutions above all: oneDNN works on copies
in its own layout.

The processor's allocator sees these copies, a tracker of tensors does not. They were read off the allocator's log in
torch 2.13 and 2.14 (oneDNN 3.12): forward, then the gradient of the input, then the gradients of weight and bias, each
with its copies. oneDNN's scratchpads (some hundred kB, other on each processor) are left out. On a graphics card none
of this is there: cuDNN has workspaces of its own, which a forecast states apart.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

NARROW = 4  # a tensor of at most this many channels is read as it lies
CONVOLUTION = torch.ops.aten.convolution.default
CONVOLUTION_BACKWARD = torch.ops.aten.convolution_backward.default
# Adam's highest moment. Without a fused kernel each tensor is divided by a float64 made of its number, cast to float32.
DIVISION_BY_NUMBERS = torch.ops.aten._foreach_div_.ScalarList
BYTES_OF_A_NUMBER = 8 + 4


def workspace_bytes(func: Any, args: Sequence[Any], result: Any) -> int:
    """The most bytes that an operator holds beside what it was given and what it returns; 0 for most."""
    if func is CONVOLUTION:
        return _forward(args[0], args[1], result, transposed=args[6])
    if func is CONVOLUTION_BACKWARD:
        return _backward(args[0], args[1], args[2], result, transposed=args[7])
    return BYTES_OF_A_NUMBER if func is DIVISION_BY_NUMBERS else 0


def _forward(given: Tensor, weight: Tensor, made: Tensor, transposed: bool) -> int:
    """The copies of all three at once, then those of the result beside the result."""
    enlarges = transposed and given.shape[2:] != (1, 1)
    return max(_copy(given) + _copy_of_weight(weight, made), _copies_of_result(enlarges) * made.nbytes)


def _backward(
    gradient: Tensor, given: Tensor, weight: Tensor, results: Sequence[Tensor | None], transposed: bool
) -> int:
    """The gradient of the input comes first; it is there already while those of weight and bias are made."""
    of_input, of_weight, of_bias = (0 if result is None else result.nbytes for result in results)
    returned = of_input + of_weight + of_bias
    held = []
    if of_input:
        held += [_copy(gradient) + _copy_of_weight(weight, gradient) + of_input]
        held += [(1 + _copies_of_result(enlarges=not transposed)) * of_input]
    if of_weight:
        copies = _copy_of_weight(weight, gradient) + of_bias
        held += [of_input + _copy(gradient) + _copy(given) + copies, returned + copies]
    return max(0, *(bytes_ - returned for bytes_ in held)) if held else 0


def _copies_of_result(enlarges: bool) -> int:
    """A convolution that enlarges its input leaves its result with the channels last, which is one copy more."""
    return 2 if enlarges else 1


def _copy(pictures: Tensor) -> int:
    return 0 if pictures.shape[1] <= NARROW else pictures.nbytes


def _copy_of_weight(weight: Tensor, made: Tensor) -> int:
    """Weights are laid out in blocks of `made`'s channels, so a narrow layer takes a whole block."""
    block = 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8
    channels = made.shape[1]
    return weight.nbytes * -(-channels // block) * block // channels
