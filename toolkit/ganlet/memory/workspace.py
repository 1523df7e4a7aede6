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
# Operators that hold nothing beside their inputs and results, by the allocator's log of the steps that use them; so do
# all that work point by point, and all that return a view.
HOLD_NOTHING = """
    _foreach_add_ _foreach_addcdiv_ _foreach_addcmul_ _foreach_div_ _foreach_lerp_ _foreach_mul_ _foreach_sqrt
    _local_scalar_dense _record_function_enter_new _record_function_exit addmm arange binary_cross_entropy_with_logits
    cat constant_pad_nd copy_ device embedding embedding_dense_backward empty index index_put leaky_relu_backward
    linalg_vector_norm masked_fill_ max_pool2d_with_indices max_pool2d_with_indices_backward mean mm mv
    native_batch_norm native_batch_norm_backward new_empty_strided new_zeros ones_like rand randint randn repeat
    scalar_tensor softplus_backward stack sum upsample_nearest2d upsample_nearest2d_backward vdot zeros_like
"""


def workspace_bytes(func: Any, args: Sequence[Any], result: Any) -> int:
    """The most bytes that an operator holds beside what it was given and what it returns; 0 for most."""
    if func is CONVOLUTION:
        return _forward(args[0], args[1], result, transposed=args[6])
    if func is CONVOLUTION_BACKWARD:
        return _backward(args[0], args[1], args[2], result, transposed=args[7])
    return BYTES_OF_A_NUMBER if func is DIVISION_BY_NUMBERS else 0


def has_rule(func: Any) -> bool:
    """Whether it is known what an operator holds on the processor; for others `workspace_bytes` returns a mere 0."""
    if func in (CONVOLUTION, CONVOLUTION_BACKWARD, DIVISION_BY_NUMBERS) or func.is_view:
        return True
    return torch.Tag.pointwise in func.tags or func.overloadpacket.__name__ in HOLD_NOTHING.split()


def _forward(given: Tensor, weight: Tensor, made: Tensor, transposed: bool) -> int:
    """The copies of all three at once, then those of the result beside the result."""
    enlarges = transposed and given.shape[2:] != (1, 1)
    of_given = _copy(given) if enlarges else _blocked_copy(given)
    return max(of_given + _copy_of_weight(weight, made), _copies_of_result(made, enlarges))


def _backward(
    gradient: Tensor, given: Tensor, weight: Tensor, results: Sequence[Tensor | None], transposed: bool
) -> int:
    """The gradient of the input comes first; it is there already while those of weight and bias are made."""
    of_input, of_weight, of_bias = (0 if result is None else result.nbytes for result in results)
    returned = of_input + of_weight + of_bias
    held = []
    if of_input:
        of_gradient = _blocked_copy(gradient) if transposed else _copy(gradient)
        held += [of_gradient + _copy_of_weight(weight, gradient) + of_input]
        held += [of_input + _copies_of_result(given, enlarges=not transposed)]
    if of_weight:
        copies = _copy_of_weight(weight, gradient) + of_bias
        held += [of_input + _blocked_copy(gradient) + _blocked_copy(given) + copies, returned + copies]
    return max(0, *(bytes_ - returned for bytes_ in held)) if held else 0


def _copies_of_result(made: Tensor, enlarges: bool) -> int:
    """A convolution that enlarges its input leaves its result with the channels last, which is one copy more.

    Its own copies fill up no blocks: where the channels do not fill theirs, another kernel takes them as they are.
    """
    return 2 * made.nbytes if enlarges else _blocked_bytes(made)


def _copy(pictures: Tensor) -> int:
    return 0 if pictures.shape[1] <= NARROW else pictures.nbytes


def _blocked_copy(pictures: Tensor) -> int:
    return 0 if pictures.shape[1] <= NARROW else _blocked_bytes(pictures)


def _copy_of_weight(weight: Tensor, made: Tensor) -> int:
    return weight.nbytes * _blocked(made.shape[1]) // made.shape[1]


def _blocked_bytes(pictures: Tensor) -> int:
    channels = pictures.shape[1]
    return pictures.nbytes if channels <= NARROW else pictures.nbytes * _blocked(channels) // channels


def _blocked(channels: int) -> int:
    """Channels lie in blocks as wide as a register, so that the last one may be filled up."""
    block = 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8
    return -(-channels // block) * block
