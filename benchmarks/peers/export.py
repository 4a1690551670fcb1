"""Write an ONNX file: arguments are `fp32`, a model's directory and the file; or `int8`, a file and the file.

In float32 this needs torch, transformers and onnxscript; in int8 only the environment `onnx`.
"""

import sys
from importlib import import_module
from typing import Any


def fp32(directory: str, file: str) -> None:
    """Export with torch."""
    import torch
    import transformers

    class Logits(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits

    family: Any = transformers.AutoModelForSequenceClassification
    model = Logits(family.from_pretrained(directory, attn_implementation="eager")).eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        model,
        tuple(torch.ones(2, 8, dtype=torch.long) for _ in names),
        file,
        input_names=names,
        output_names=["logits"],
        dynamic_shapes=(axes, axes, axes),
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def int8(source: str, file: str) -> None:
    """Quantise the weights, each row of them by itself; activations as they come."""
    library = import_module("onnxruntime.quantization")
    library.quantize_dynamic(
        source, file, weight_type=library.QuantType.QInt8, per_channel=True, reduce_range=True
    )


if __name__ == "__main__":
    {"fp32": fp32, "int8": int8}[sys.argv[1]](*sys.argv[2:])
