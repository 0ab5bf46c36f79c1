"""Convolutions and their transposes, over one, two or three axes."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Count1, Count2, Count3, Size, Size1, Size2, Size3, checked
from minidl.nn import expect, functional, init
from minidl.nn.module import Module, Parameter
from minidl.ops.patches import sizes
from minidl.ops.shape import shape_of

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
_LAYOUTS = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}


class _Convolution(Module):
    """What convolutions and their transposes have in common."""

    ndim: ClassVar[int]
    infer: ClassVar = {"in_channels": 1}
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    groups: int

    def _sizes(self, **settings: Any) -> None:
        for name, value in settings.items():
            fixed = isinstance(value, str)
            setattr(self, name, value if fixed else sizes(name, value, self.ndim))

    def _parameters(
        self, inputs: int, outputs: int, groups: int, bias: bool, transposed: bool, how: Any
    ) -> None:
        for name, count in (("in_channels", inputs), ("out_channels", outputs)):
            if count % groups:
                raise ValueError(
                    f"{type(self).__name__}: groups must divide {name}, got {groups} and {count}"
                )
        self.in_channels, self.out_channels, self.groups = inputs, outputs, groups
        first, second = (inputs, outputs) if transposed else (outputs, inputs)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(init.kaiming_uniform(shape, a=sqrt(5), **how))
        fan = init.fan_in(shape)
        self.bias = Parameter(init.uniform_fan_in((outputs,), fan, **how)) if bias else None

    def _expect(self, x: Any, weight: Any) -> None:
        name = type(self).__name__
        expect.channels(name, "in_channels", x, self.in_channels, 1, _LAYOUTS[self.ndim])
        expect.same_dtype(name, x, weight)

    def extra_repr(self) -> str:
        """Return channels, kernel and what differs from the default."""
        ones, zeros = (1,) * self.ndim, (0,) * self.ndim
        usual = {"stride": ones, "padding": zeros, "output_padding": zeros, "dilation": ones}
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        for name, default in {**usual, "groups": 1, "padding_mode": "zeros"}.items():
            if getattr(self, name, default) != default:
                parts.append(f"{name}={getattr(self, name)!r}")
        return ", ".join(parts + (["bias=False"] if self.bias is None else []))


class _Conv(_Convolution):
    function: ClassVar[Callable[..., Any]]
    padding_mode: str

    def _set(
        self, inputs: int, outputs: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
        groups: int, bias: bool, padding_mode: str, dtype: Any, rng: Any,
    ) -> None:  # fmt: skip
        self._sizes(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        if self.padding not in ("same", "valid") and isinstance(self.padding, str):
            raise ValueError(
                f"{type(self).__name__}: padding must be numbers, 'same' or 'valid', "
                f"got {self.padding!r}"
            )
        if self.padding == "same" and max(self.stride) > 1:
            raise ValueError(
                f"{type(self).__name__}: padding='same' wants stride 1, got stride {self.stride}"
            )
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                f"{type(self).__name__}: padding_mode must be 'zeros', 'reflect', 'replicate' or "
                f"'circular', got {padding_mode!r}"
            )
        self.padding_mode = padding_mode
        self._parameters(inputs, outputs, groups, bias, False, {"dtype": dtype, "rng": rng})

    def forward(self, x: Any) -> Any:
        """Correlate the input with the kernels and add the bias."""
        weight, padding = self.weight, self.padding  # a parametrized weight is computed once
        self._expect(x, weight)
        if self.padding_mode != "zeros" and padding != "valid":
            x = functional.pad(x, self._around(), self.padding_mode)  # type: ignore[arg-type]
            padding = 0
        return type(self).function(
            x, weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _around(self) -> list[int]:
        """Padding for `functional.pad`: before and behind, last axis first."""
        if self.padding == "same":
            reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            pairs = [(r // 2, r - r // 2) for r in reach]
        else:
            pairs = [(p, p) for p in self.padding]
        return [amount for pair in reversed(pairs) for amount in pair]


class Conv1d(_Conv):
    """Cross-correlation of sequences with learned kernels; see `minidl.nn.functional.conv1d`.

    Shapes: ``(N, in_channels, L) -> (N, out_channels, OL)``;
    ``weight (out_channels, in_channels / groups, K)``, ``bias (out_channels,)``.
    """

    ndim: ClassVar = 1
    function = staticmethod(functional.conv1d)
    infer_from_state: ClassVar = {"in_channels": ("weight", 1)}

    @checked
    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size1,
        stride: Size1 = 1,
        padding: Count1 | Literal["same", "valid"] = 0,
        dilation: Size1 = 1,
        groups: Size = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, dtype, rng,
        )  # fmt: skip


class Conv2d(_Conv):
    """Cross-correlation of images with learned kernels; see `minidl.nn.functional.conv2d`.

    Shapes: ``(N, in_channels, H, W) -> (N, out_channels, OH, OW)``;
    ``weight (out_channels, in_channels / groups, KH, KW)``, ``bias (out_channels,)``.
    """

    ndim: ClassVar = 2
    function = staticmethod(functional.conv2d)
    infer_from_state: ClassVar = {"in_channels": ("weight", 1)}

    @checked
    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size2,
        stride: Size2 = 1,
        padding: Count2 | Literal["same", "valid"] = 0,
        dilation: Size2 = 1,
        groups: Size = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, dtype, rng,
        )  # fmt: skip


class Conv3d(_Conv):
    """Cross-correlation of volumes with learned kernels; see `minidl.nn.functional.conv3d`.

    Shapes: ``(N, in_channels, D, H, W) -> (N, out_channels, OD, OH, OW)``;
    ``weight (out_channels, in_channels / groups, KD, KH, KW)``, ``bias (out_channels,)``.
    """

    ndim: ClassVar = 3
    function = staticmethod(functional.conv3d)
    infer_from_state: ClassVar = {"in_channels": ("weight", 1)}

    @checked
    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size3,
        stride: Size3 = 1,
        padding: Count3 | Literal["same", "valid"] = 0,
        dilation: Size3 = 1,
        groups: Size = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, dtype, rng,
        )  # fmt: skip


class _ConvTranspose(_Convolution):
    function: ClassVar[Callable[..., Any]]
    infer_from_state: ClassVar = {"in_channels": ("weight", 0)}
    output_padding: tuple[int, ...]

    def _set(
        self, inputs: int, outputs: int, kernel_size: Any, stride: Any, padding: Any,
        output_padding: Any, groups: int, bias: bool, dilation: Any, dtype: Any, rng: Any,
    ) -> None:  # fmt: skip
        self._sizes(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        self._sizes(output_padding=output_padding)
        self._parameters(inputs, outputs, groups, bias, True, {"dtype": dtype, "rng": rng})

    def forward(self, x: Any, output_size: Any = None) -> Any:
        """Return the transposed convolution; ``output_size`` chooses among possible sizes."""
        weight = self.weight
        self._expect(x, weight)
        return type(self).function(
            x, weight, self.bias, self.stride, self.padding, self._extra(x, output_size),
            self.groups, self.dilation,
        )  # fmt: skip

    def _extra(self, x: Any, output_size: Any) -> Any:
        """Output padding that leads to a wanted size."""
        if output_size is None:
            return self.output_padding
        space, wanted = shape_of(x)[-self.ndim :], tuple(output_size)[-self.ndim :]
        rows = zip(space, self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in rows]
        extra = tuple(w - m for w, m in zip(wanted, least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = tuple(m + s - 1 for m, s in zip(least, self.stride, strict=True))
            raise ValueError(
                f"{type(self).__name__}: output_size {wanted} is not from {tuple(least)} to {most}"
            )
        return extra


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of sequences; see `minidl.nn.functional.conv_transpose1d`.

    Shapes: ``(N, in_channels, L) -> (N, out_channels, OL)``;
    ``weight (in_channels, out_channels / groups, K)``.
    """

    ndim: ClassVar = 1
    function = staticmethod(functional.conv_transpose1d)

    @checked
    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size1,
        stride: Size1 = 1,
        padding: Count1 = 0,
        output_padding: Count1 = 0,
        groups: Size = 1,
        bias: bool = True,
        dilation: Size1 = 1,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias,
            dilation, dtype, rng,
        )  # fmt: skip


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution of images; see `minidl.nn.functional.conv_transpose2d`.

    Shapes: ``(N, in_channels, H, W) -> (N, out_channels, OH, OW)`` with
    ``OH = (H - 1) · stride - 2 · padding + dilation · (KH - 1) + output_padding + 1``;
    ``weight (in_channels, out_channels / groups, KH, KW)``.
    """

    ndim: ClassVar = 2
    function = staticmethod(functional.conv_transpose2d)

    @checked
    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size2,
        stride: Size2 = 1,
        padding: Count2 = 0,
        output_padding: Count2 = 0,
        groups: Size = 1,
        bias: bool = True,
        dilation: Size2 = 1,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias,
            dilation, dtype, rng,
        )  # fmt: skip


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of volumes; see `minidl.nn.functional.conv_transpose3d`.

    Shapes: ``(N, in_channels, D, H, W) -> (N, out_channels, OD, OH, OW)``;
    ``weight (in_channels, out_channels / groups, KD, KH, KW)``.
    """

    ndim: ClassVar = 3
    function = staticmethod(functional.conv_transpose3d)

    @checked
    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size3,
        stride: Size3 = 1,
        padding: Count3 = 0,
        output_padding: Count3 = 0,
        groups: Size = 1,
        bias: bool = True,
        dilation: Size3 = 1,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias,
            dilation, dtype, rng,
        )  # fmt: skip
