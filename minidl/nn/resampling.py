"""Layers that move, repeat or pad pixels, and learn nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from minidl.arguments import Count, Count2, Positive, Size, Size2, checked
from minidl.nn import functional
from minidl.nn.function_module import FunctionModule
from minidl.nn.module import Module
from minidl.ops.padding import Mode
from minidl.ops.shape import shape_of

Interpolation = Literal["nearest", "linear", "bilinear", "bicubic", "trilinear"]


class Upsample(FunctionModule):
    """Resize to ``size`` or by ``scale_factor``; see `minidl.nn.functional.interpolate`."""

    function = staticmethod(functional.interpolate)

    @checked
    def __init__(
        self,
        size: Size | tuple[Size, ...] | None = None,
        scale_factor: Positive | tuple[Positive, ...] | None = None,
        mode: Interpolation = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError("Upsample: one of size and scale_factor is wanted")
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor


class UpsamplingNearest2d(Upsample):
    """Resize images, each new pixel a copy of the nearest old one."""

    @checked
    def __init__(self, size: Size2 | None = None, scale_factor: Positive | None = None) -> None:
        super().__init__(size, scale_factor, "nearest")

    def forward(self, x: Any) -> Any:
        """Return the resized images."""
        return functional.interpolate(x, self.size, self.scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Resize images, new pixels weighted by nearness, corners aligned."""

    @checked
    def __init__(self, size: Size2 | None = None, scale_factor: Positive | None = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)

    def forward(self, x: Any) -> Any:
        """Return the resized images."""
        return functional.interpolate(x, self.size, self.scale_factor, "bilinear", True)


class PixelShuffle(FunctionModule):
    """Channels to pixels: ``(N, C r², H, W) -> (N, C, H r, W r)``."""

    function = staticmethod(functional.pixel_shuffle)

    @checked
    def __init__(self, upscale_factor: Size) -> None:
        self.upscale_factor = upscale_factor


class PixelUnshuffle(FunctionModule):
    """Pixels to channels: ``(N, C, H r, W r) -> (N, C r², H, W)``."""

    function = staticmethod(functional.pixel_unshuffle)

    @checked
    def __init__(self, downscale_factor: Size) -> None:
        self.downscale_factor = downscale_factor


class ChannelShuffle(FunctionModule):
    """Interleave groups of channels."""

    function = staticmethod(functional.channel_shuffle)

    @checked
    def __init__(self, groups: Size) -> None:
        self.groups = groups


class Fold(FunctionModule):
    """Add windows back to where they lie; see `minidl.nn.functional.fold`."""

    function = staticmethod(functional.fold)

    @checked
    def __init__(
        self,
        output_size: Size2,
        kernel_size: Size2,
        dilation: Size2 = 1,
        padding: Count2 = 0,
        stride: Size2 = 1,
    ) -> None:
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride


class Unfold(FunctionModule):
    """Every window as a column; see `minidl.nn.functional.unfold`."""

    function = staticmethod(functional.unfold)

    @checked
    def __init__(
        self,
        kernel_size: Size2,
        dilation: Size2 = 1,
        padding: Count2 = 0,
        stride: Size2 = 1,
    ) -> None:
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride


class _Pad(Module):
    """Padding before and behind the last ``ndim`` axes, the last axis first."""

    ndim: ClassVar[int]
    mode: ClassVar[Mode]
    value: float | None = None

    @checked
    def __init__(self, padding: Count | Sequence[int]) -> None:
        self.padding = self._amounts(padding)

    def _amounts(self, padding: Any) -> tuple[int, ...]:
        amounts = (padding,) * (2 * self.ndim) if isinstance(padding, int) else tuple(padding)
        if len(amounts) != 2 * self.ndim:
            raise ValueError(
                f"{type(self).__name__}: padding must be one number or {2 * self.ndim} (before and "
                f"behind each axis, the last axis first), got {padding!r}"
            )
        return amounts

    def forward(self, x: Any) -> Any:
        """Return the padded input.

        Raises
        ------
        ValueError
            It has too few axes, or not enough to reflect or repeat.
        """
        if len(shape_of(x)) not in (self.ndim + 1, self.ndim + 2):
            raise ValueError(
                f"{type(self).__name__}: {self.ndim + 1} or {self.ndim + 2} axes are wanted, "
                f"got {shape_of(x)}"
            )
        return functional.pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """Return the amounts."""
        return f"{self.padding}" + ("" if self.value is None else f", value={self.value}")


class _ConstantPad(_Pad):
    mode: ClassVar = "constant"

    @checked
    def __init__(self, padding: Count | Sequence[int], value: float) -> None:
        self.padding = self._amounts(padding)
        self.value = value


def _pads(kind: type[_Pad], name: str, mode: Mode, doc: str) -> list[type[_Pad]]:
    """Make the classes for one, two and three axes."""
    made = []
    for ndim in (1, 2, 3):
        full = f"{name}{ndim}d"
        axes = {1: "sequences", 2: "images", 3: "volumes"}[ndim]
        space = {"__doc__": f"Pad {axes} {doc}", "ndim": ndim, "mode": mode, "__module__": __name__}
        made.append(type(full, (kind,), space))
    return made


ConstantPad1d, ConstantPad2d, ConstantPad3d = _pads(
    _ConstantPad, "ConstantPad", "constant", "with ``value``."
)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _pads(_Pad, "ZeroPad", "constant", "with zeros.")
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _pads(
    _Pad, "ReflectionPad", "reflect", "by mirroring at the outermost elements."
)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _pads(
    _Pad, "ReplicationPad", "replicate", "with the outermost elements."
)
CircularPad1d, CircularPad2d, CircularPad3d = _pads(
    _Pad, "CircularPad", "circular", "with what stands at the other end."
)
