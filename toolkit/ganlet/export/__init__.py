"""The generator as a file that runs without torch."""

from ganlet.export.onnx_export import export_onnx

__all__ = ["export_onnx"]
