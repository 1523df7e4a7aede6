"""The generator as a file that runs without torch.

    export_onnx(stage, run)        RUN/generator.onnx of a stage, fp32

On the ModelProto of any fp32 generator that it wrote, each a new model with the same inputs, outputs and metadata:

    lowered(model, "sm75")         layers in the forms that a device runs best (`profiles.PROFILES`), the same pictures
    to_fp16(model)                 weights and arithmetic in fp16
    to_int8(model)                 static Q/DQ on the rewritten graph, calibrated; with "trt-int8" as TensorRT takes it
    layers_of(model)               its transposed convolutions, and the forms that each can take
    rewritten(model, forms)        each named layer in one form
"""

from ganlet.export.fold import fold_batch_norm
from ganlet.export.fp16 import to_fp16
from ganlet.export.int8 import to_int8
from ganlet.export.lower import layers_of, rewritten
from ganlet.export.onnx_export import export_onnx
from ganlet.export.profiles import PROFILES, lowered

__all__ = ["PROFILES", "export_onnx", "fold_batch_norm", "layers_of", "lowered", "rewritten", "to_fp16", "to_int8"]
