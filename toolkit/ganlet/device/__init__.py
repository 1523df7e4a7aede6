"""The on-device part: draws pictures from an exported generator with numpy, Pillow and ONNX Runtime alone.

Nothing here imports torch, onnx, typer or pydantic; ONNX Runtime itself is imported when the first session is made.
"""

from ganlet.device.feed import feed_at
from ganlet.device.latents import latents
from ganlet.device.onnx_runner import OnnxRunner
from ganlet.device.sampler import Sampler

__all__ = ["OnnxRunner", "Sampler", "feed_at", "latents"]
