"""What no real hardware or network has shown yet, in one list: `ganlet doctor` and the report page read it from here.

Whoever checks one of these removes its line.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class NotVerified:
    """`what` was never checked, and `known`: what the tests do show of it."""

    what: str
    known: str

    def as_json(self) -> dict[str, str]:
        return {"what": self.what, "known": self.known}


NOT_VERIFIED = (
    NotVerified(
        "training on an NVIDIA card, mixed precision included",
        "no card has run it; its forward parts run on tensors without content in the tests",
    ),
    NotVerified(
        "what a card needs beside the tensors of a memory forecast",
        "the CUDA context and the workspaces of convolutions are assumed intervals",
    ),
    NotVerified(
        "TensorRT engines on a card: loading, parity, speed and memory",
        "engines are built and read without a card; no card has run one",
    ),
    NotVerified(
        "ONNX Runtime on CUDA, TensorRT, DirectML and CoreML",
        "their options follow the documentation; the doctor runs one layer on each that is listed",
    ),
    NotVerified("ExecuTorch programs on a phone", "they run in the runtime for desktops, on the processor"),
    NotVerified(
        "the original Inception weights by their download",
        "the network is compared with pytorch-fid's on other weights; a file is checked by its SHA-256",
    ),
)
