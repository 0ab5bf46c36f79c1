"""What stands beside the layers, where PyTorch has it: norms of weights, and weights as a vector.

``parametrize`` and ``parametrizations`` are `minidl.nn.parametrize`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minidl.nn import parametrize
from minidl.nn import parametrize as parametrizations
from minidl.ops.joining import cat
from minidl.ops.shape import reshape
from minidl.tensor import Tensor

__all__ = ["parameters_to_vector", "parametrizations", "parametrize", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """Return all parameters, end to end, as one vector; differentiable."""
    return cat([reshape(parameter, (-1,)) for parameter in parameters])


def vector_to_parameters(vector: Any, parameters: Iterable[Tensor]) -> None:
    """Copy a vector into parameters, end to end.

    Raises
    ------
    ValueError
        The lengths differ; nothing has been changed.
    """
    tensors = list(parameters)
    wanted = sum(tensor.numel() for tensor in tensors)
    if tuple(vector.shape) != (wanted,):
        raise ValueError(
            f"vector_to_parameters: a vector of {wanted} is wanted, got {tuple(vector.shape)}"
        )
    start = 0
    for tensor in tensors:
        tensor.copy_(vector[start : start + tensor.numel()].reshape(tensor.shape))
        start += tensor.numel()
