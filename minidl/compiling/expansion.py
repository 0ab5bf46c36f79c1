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
from minidl.kernels.masking import masked as kernel_masked
from minidl.ops import elementwise, products

if TYPE_CHECKING:
    from minidl.compiling.recording import Recording


def _relu(recording: Recording, x: Any) -> Any:
    return recording.call(np.maximum, (x, 0), {})


def _linear(recording: Recording, x: Any, weight: Any, bias: Any) -> Any:
    turned = recording.call(np.transpose, (weight,), {})
    out = recording.call(np.matmul, (x, turned), {})
    return out if bias is None else recording.call(np.add, (out, bias), {})


def _masked(recording: Recording, x: Any, keep: Any) -> Any:
    return recording.call(kernel_masked, (x, keep), {})


#: By operation: ``(recording, *arguments)``, computes and takes down.
EXPANSIONS: dict[Primitive, Callable[..., Any]] = {
    elementwise.relu: _relu,
    elementwise.masked: _masked,
    products._linear: _linear,
}
