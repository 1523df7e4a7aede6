"""Ganlet: train a GAN, make its generator small, and prove that it is still good."""

import os

__version__ = "0.1.0"

# Nothing is reported to the makers of the libraries: ONNX Runtime and Hugging Face's packages read these when they are
# imported, here and in every child process. OpenVINO has no such variable (`device.runtimes.load_openvino`).
for _switch in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_switch, "1")
