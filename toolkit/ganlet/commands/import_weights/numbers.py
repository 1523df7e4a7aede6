"""The numbers of foreign tensors: floating-point ones of any precision become float32, others are refused by kind."""

from collections.abc import Mapping

import torch

from ganlet.commands.import_weights.choosing import COUNTER, Tensors
from ganlet.errors import GanletError

QUANTISED = "give the weights as they were before quantisation"


def kind_of_fault(tensor: torch.Tensor) -> tuple[str, str] | None:
    """Why a tensor cannot be a weight, and the remedy; None where its numbers are floating-point ones."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        return f"is quantised ({dtype})", QUANTISED
    if tensor.is_nested:
        return "is a nested tensor", "save plain tensors"
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        return f"is sparse ({layout})", "save it after .to_dense()"
    if tensor.device.type == "meta":
        return "is a meta tensor, which has a shape and no numbers", "save the weights after they were loaded"
    if tensor.is_complex():
        return f"is complex ({dtype})", "give the weights of a network of real numbers"
    if tensor.dtype == torch.bool:
        return "holds truth values (bool)", "give the weights, not a mask of them"
    if not tensor.is_floating_point():
        return f"holds integers ({dtype})", QUANTISED
    return None


def refuse_kinds(tensors: Mapping[str, torch.Tensor], origin: str) -> None:
    """Raise GanletError for the first tensor that is no weight by its kind."""
    for name, tensor in tensors.items():
        fault = kind_of_fault(tensor)
        if fault is not None and not name.endswith(COUNTER):
            raise GanletError(f"{origin}: {name} {fault[0]}, expected floating-point numbers; {fault[1]}.")


def as_float32(tensors: Tensors, like: Mapping[str, torch.Tensor], origin: str) -> tuple[Tensors, list[str]]:
    """The tensors as the network of the state dict `like` has them, and what was changed for that, in words.

    Raises GanletError, with the tensor's name and kind, for numbers that are not finite or no floating-point ones.
    """
    refuse_kinds({name: tensors[name] for name in like if name in tensors}, origin)
    weights: Tensors = {}
    changed: dict[str, int] = {}
    for name, own in like.items():
        if name.endswith(COUNTER):
            weights[name] = _counter(tensors.get(name), own)
            continue
        tensor = tensors[name].detach()
        wide = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)
        if bad := int((~torch.isfinite(wide)).sum()):
            raise GanletError(
                f"{origin}: {name} holds {bad} numbers of {wide.numel()} that are not finite (NaN or infinite): the "
                "training had diverged; give weights of before."
            )
        weights[name] = wide.to(torch.float32)
        if not torch.isfinite(weights[name]).all():
            raise GanletError(
                f"{origin}: {name} holds numbers up to {float(wide.abs().max()):.3g}, too large for float32; "
                "give weights that float32 can hold."
            )
        if tensor.dtype != torch.float32:
            dtype = str(tensor.dtype).removeprefix("torch.")
            changed[dtype] = changed.get(dtype, 0) + 1
    notes = [f"{count} tensors of {dtype} are converted to float32" for dtype, count in changed.items()]
    if any(name.endswith(COUNTER) and name not in tensors for name in like):
        notes.append(f"{COUNTER} is missing and set to 0: nothing is drawn by it")
    return weights, notes


def _counter(tensor: torch.Tensor | None, own: torch.Tensor) -> torch.Tensor:
    """A counter of batches as int64; 0 where it is missing or no number."""
    if tensor is None or tensor.device.type == "meta" or tensor.is_quantized or tensor.layout != torch.strided:
        return torch.zeros_like(own)
    if tensor.is_complex() or (tensor.is_floating_point() and not torch.isfinite(tensor).all()):
        return torch.zeros_like(own)
    return tensor.detach().to(own.dtype)
