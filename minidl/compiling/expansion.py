"""Operations that a program takes apart into the calls of NumPy that they are made of.

Each of these can be told where to write its result (`minidl.compiling.plan`), which an operation
as a whole cannot. The calls are those of the operation's own ``value``, in its order, so the bits
are its bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.autograd.primitive import Primitive
from minidl.kernels import affine, rectifying
from minidl.kernels.masking import masked as kernel_masked
from minidl.kernels.summing import total
from minidl.ops import elementwise, products, reduce

if TYPE_CHECKING:
    from minidl.compiling.recording import Recording


def _relu(recording: Recording, x: Any) -> Any:
    return recording.call(rectifying.relu, (x,), {})


def _relu_gradient(recording: Recording, grad: Any, top: Any) -> Any:
    return recording.call(rectifying.relu_gradient, (grad, top), {})


def _linear(recording: Recording, x: Any, weight: Any, bias: Any) -> Any:
    if affine.turned(x, weight, bias):
        columns = recording.call(np.matmul, (weight, recording.call(np.transpose, (x,), {})), {})
        return recording.call(affine.add_turned, (columns, bias), {})
    turned = recording.call(np.transpose, (weight,), {})
    out = recording.call(np.matmul, (x, turned), {})
    return out if bias is None else recording.call(np.add, (out, bias), {})


def _masked(recording: Recording, x: Any, keep: Any) -> Any:
    return recording.call(kernel_masked, (x, keep), {})


def _sum(recording: Recording, x: Any, *, dim: Any, keepdim: Any) -> Any:
    return recording.call(total, (x,), {"dim": dim, "keepdim": keepdim})


#: By operation: ``(recording, *arguments, **parameters)``, computes and takes down.
EXPANSIONS: dict[Primitive, Callable[..., Any]] = {
    elementwise.relu: _relu,
    elementwise.relu_gradient: _relu_gradient,
    elementwise.masked: _masked,
    products._linear: _linear,
    reduce._sum: _sum,
}
