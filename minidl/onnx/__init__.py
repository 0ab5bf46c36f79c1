"""Export to ONNX: `export` writes a model that ONNX Runtime and others can run.

A model is run twice, with batches of different size, on values that note every operation
(`minidl.onnx.tracing`); what differs between the two traces depends on the batch, and is computed
in the exported graph. Layers that ONNX has are exported whole (`minidl.onnx.layers`), everything
else operation by operation (`minidl.onnx.operations`), so user-written ``forward`` functions
export too.

Wants the package ``onnx`` (the extra ``onnx``).
"""

from minidl.onnx.export import export

__all__ = ["export"]
