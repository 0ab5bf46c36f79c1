"""Convolution of each channel with a kernel of its own: what `conv2d` does with as many groups.

A family of three operations like those of `minidl.ops.conv`: each has the others for derivatives.
"""

from __future__ import annotations

from minidl.autograd.primitive import Primitive, primitive
from minidl.kernels import depthwise as kernel
from minidl.ops.batching import folded_if_only_first

depthwise_conv2d: Primitive = primitive(
    "depthwise_conv2d",
    kernel.conv2d,
    vjp=(
        lambda g, _out, x, weight, **how: _depthwise_input(g, weight, size=x.shape[2:], **how),
        lambda g, _out, x, weight, **how: _depthwise_weight(g, x, size=weight.shape[2:], **how),
    ),
    jvp=(
        lambda t, out, x, weight, **how: depthwise_conv2d(t, weight, **how),
        lambda t, out, x, weight, **how: depthwise_conv2d(x, t, **how),
    ),
    batch=folded_if_only_first,
)

# The gradient that reaches the input.
_depthwise_input: Primitive = primitive(
    "depthwise_conv2d_input",
    kernel.conv2d_input,
    vjp=(
        lambda g, _out, _y, weight, *, size, **how: depthwise_conv2d(g, weight, **how),
        lambda g, _out, y, weight, *, size, **how: _depthwise_weight(
            y, g, size=weight.shape[2:], **how
        ),
    ),
    jvp=(
        lambda t, out, y, weight, **how: _depthwise_input(t, weight, **how),
        lambda t, out, y, weight, **how: _depthwise_input(y, t, **how),
    ),
    batch=folded_if_only_first,
)

# The gradient that reaches the weight.
_depthwise_weight: Primitive = primitive(
    "depthwise_conv2d_weight",
    kernel.conv2d_weight,
    vjp=(
        lambda g, _out, _y, x, *, size, **how: depthwise_conv2d(x, g, **how),
        lambda g, _out, y, x, *, size, **how: _depthwise_input(y, g, size=x.shape[2:], **how),
    ),
    jvp=(
        lambda t, out, y, x, **how: _depthwise_weight(t, x, **how),
        lambda t, out, y, x, **how: _depthwise_weight(y, t, **how),
    ),
)
