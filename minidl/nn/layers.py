"""Layers: ``__init__`` declares the parameters, ``forward`` is the formula."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Count, Fraction, Positive, Size, checked
from minidl.nn import functional, init
from minidl.nn.module import Buffer, Module, Parameter
from minidl.ops.patches import sizes
from minidl.ops.shape import flatten, shape_of


class Linear(Module):
    """Affine map ``y = x Wᵀ + b``.

    Shapes: ``x (*, in_features)`` -> ``(*, out_features)``; ``weight (out_features, in_features)``,
    ``bias (out_features,)``.
    """

    infer: ClassVar = {"in_features": -1}

    @checked
    def __init__(
        self,
        in_features: Size,
        out_features: Size,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        shape = out_features, in_features
        self.weight = Parameter(init.kaiming_uniform(shape, a=sqrt(5), dtype=dtype, rng=rng))
        self.bias = (
            Parameter(init.uniform_fan_in((out_features,), in_features, dtype=dtype, rng=rng))
            if bias
            else None
        )

    def forward(self, x: Any) -> Any:
        """Return ``x Wᵀ + b``."""
        return functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}" + (", bias=False" if self.bias is None else "")


class Conv2d(Module):
    """Cross-correlation of images with learned kernels; see `minidl.conv2d`.

    Shapes: ``(N, in_channels, H, W) -> (N, out_channels, OH, OW)``;
    ``weight (out_channels, in_channels, KH, KW)``, ``bias (out_channels,)``.
    """

    infer: ClassVar = {"in_channels": 1}

    @checked
    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size | tuple[Size, Size],
        *,
        stride: Size | tuple[Size, Size] = 1,
        padding: Count | tuple[Count, Count] | Literal["same", "valid"] = 0,
        dilation: Size | tuple[Size, Size] = 1,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.stride = sizes("stride", stride, 2)
        self.padding = padding if isinstance(padding, str) else sizes("padding", padding, 2)
        self.dilation = sizes("dilation", dilation, 2)
        shape = (out_channels, in_channels, *sizes("kernel_size", kernel_size, 2))
        self.weight = Parameter(init.kaiming_uniform(shape, a=sqrt(5), dtype=dtype, rng=rng))
        self.bias = (
            Parameter(
                init.uniform_fan_in((out_channels,), init.fan_in(shape), dtype=dtype, rng=rng)
            )
            if bias
            else None
        )

    def forward(self, x: Any) -> Any:
        """Correlate the images with the kernels and add the bias."""
        return functional.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def extra_repr(self) -> str:
        """Return channels, kernel and what differs from the default."""
        out_channels, in_channels, *kernel = self.weight.shape
        parts = [f"{in_channels}, {out_channels}, kernel_size={tuple(kernel)}"]
        for name, usual in {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}.items():
            if getattr(self, name) != usual:
                parts.append(f"{name}={getattr(self, name)!r}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class MaxPool2d(Module):
    """Largest element of each window; see `minidl.max_pool2d`.

    Shapes: ``(N, C, H, W) -> (N, C, OH, OW)``. The stride is the window's size unless given.
    """

    @checked
    def __init__(
        self,
        kernel_size: Size | tuple[Size, Size],
        *,
        stride: Size | tuple[Size, Size] | None = None,
        padding: Count | tuple[Count, Count] = 0,
    ) -> None:
        self.kernel_size = sizes("kernel_size", kernel_size, 2)
        self.stride = self.kernel_size if stride is None else sizes("stride", stride, 2)
        self.padding = sizes("padding", padding, 2)

    def forward(self, x: Any) -> Any:
        """Pool the images."""
        return functional.max_pool2d(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """Mean of each window; see `minidl.avg_pool2d`.

    Shapes: ``(N, C, H, W) -> (N, C, OH, OW)``. The stride is the window's size unless given.
    """

    @checked
    def __init__(
        self,
        kernel_size: Size | tuple[Size, Size],
        *,
        stride: Size | tuple[Size, Size] | None = None,
        padding: Count | tuple[Count, Count] = 0,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = sizes("kernel_size", kernel_size, 2)
        self.stride = self.kernel_size if stride is None else sizes("stride", stride, 2)
        self.padding = sizes("padding", padding, 2)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        """Pool the images."""
        return functional.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            count_include_pad=self.count_include_pad,
        )

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class ReLU(Module):
    """max(x, 0), elementwise."""

    def forward(self, x: Any) -> Any:
        """Return max(x, 0)."""
        return functional.relu(x)


class Tanh(Module):
    """Hyperbolic tangent, elementwise."""

    def forward(self, x: Any) -> Any:
        """Return tanh(x)."""
        return functional.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ), elementwise."""

    def forward(self, x: Any) -> Any:
        """Return 1 / (1 + e⁻ˣ)."""
        return functional.sigmoid(x)


class GELU(Module):
    """x Φ(x), elementwise; see `minidl.nn.functional.gelu`."""

    def __init__(self, *, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate: Literal["none", "tanh"] = approximate

    def forward(self, x: Any) -> Any:
        """Return x Φ(x)."""
        return functional.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Return the approximation."""
        return f"approximate={self.approximate!r}"


class Flatten(Module):
    """Join axes into one, by default all but the batch: ``(N, *) -> (N, prod(*))``."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Any:
        """Flatten."""
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Dropout(Module):
    """Zeros with probability ``p`` in training, the rest scaled; see `minidl.dropout`."""

    @checked
    def __init__(self, p: Fraction = 0.5, *, rng: np.random.Generator | None = None) -> None:
        self.p = p
        self.rng = np.random.default_rng() if rng is None else rng

    def forward(self, x: Any) -> Any:
        """Drop elements in training; return ``x`` otherwise."""
        return functional.dropout(x, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"


class _BatchNorm(Module):
    """Batch normalization over axis 1; see `minidl.nn.functional.batch_norm`.

    Shapes: parameters and running statistics ``(num_features,)``.
    """

    infer: ClassVar = {"num_features": 1}
    ranks: ClassVar[tuple[int, ...]]

    @checked
    def __init__(
        self,
        num_features: Size,
        *,
        eps: Positive = 1e-5,
        momentum: Fraction = 0.1,
        affine: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        dtype = dtype or np.float32
        self.eps = eps
        self.momentum = momentum
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine else None
        self.running_mean = Buffer(np.zeros(num_features, dtype))
        self.running_var = Buffer(np.ones(num_features, dtype))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def forward(self, x: Any) -> Any:
        """Normalize by the batch's statistics in training, by the running ones otherwise."""
        if len(shape_of(x)) not in self.ranks:
            wanted = " or ".join(f"{rank}-d" for rank in self.ranks)
            raise ValueError(
                f"{type(self).__name__}: a {wanted} input is wanted, got {shape_of(x)}"
            )
        if self.training:
            self.num_batches_tracked.value += 1
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.running_mean.shape[0]}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """Batch normalization of features: ``(N, C)`` or ``(N, C, L)``.

    See `minidl.nn.functional.batch_norm` for the formula and the source.
    """

    ranks: ClassVar = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images: ``(N, C, H, W)``.

    See `minidl.nn.functional.batch_norm` for the formula and the source.
    """

    ranks: ClassVar = (4,)


class Sequential(Module):
    """Modules called one after the other.

    Raises
    ------
    TypeError
        An argument is not a module.
    """

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: argument {i} is {module!r}, a Module is wanted")
            setattr(self, str(i), module)

    def forward(self, x: Any) -> Any:
        """Call each module on the result of the one before."""
        for module in self.children():
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        modules = list(self.children())
        if isinstance(index, slice):
            return Sequential(*modules[index])
        if not -len(modules) <= index < len(modules):
            raise IndexError(f"Sequential: no module {index}; there are {len(modules)}")
        return modules[index]
