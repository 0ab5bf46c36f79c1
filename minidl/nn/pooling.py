"""Pooling: one number for each window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from minidl.arguments import (
    Count1,
    Count2,
    Count3,
    Positive,
    Size,
    Size1,
    Size2,
    Size3,
    checked,
)
from minidl.nn import functional
from minidl.nn.function_module import FunctionModule
from minidl.nn.module import Module
from minidl.ops.patches import sizes
from minidl.ops.reduce import amax, mean
from minidl.ops.shape import shape_of


class _Pool(FunctionModule):
    """Windows over ``ndim`` axes."""

    ndim: ClassVar[int]

    def _windows(self, kernel_size: Any, stride: Any, **others: Any) -> None:
        self.kernel_size = sizes("kernel_size", kernel_size, self.ndim)
        self.stride = self.kernel_size if stride is None else sizes("stride", stride, self.ndim)
        for name, value in others.items():
            setattr(self, name, sizes(name, value, self.ndim))

    def extra_repr(self) -> str:
        """Return the windows and what differs from the default."""
        usual = {
            **self.settings,
            "stride": self.kernel_size,
            "padding": (0,) * self.ndim,
            "dilation": (1,) * self.ndim,
        }
        parts = [
            f"{name}={value!r}" for name, value in self.arguments().items() if value != usual[name]
        ]
        return ", ".join(parts)


class MaxPool1d(_Pool):
    """Largest element of each window: ``(N, C, L) -> (N, C, OL)``.

    The stride is the window's size unless given. With ``return_indices`` also the place of each,
    for `MaxUnpool1d`.
    """

    ndim: ClassVar = 1
    function = staticmethod(functional.max_pool1d)

    @checked
    def __init__(
        self,
        kernel_size: Size1,
        stride: Size1 | None = None,
        padding: Count1 = 0,
        dilation: Size1 = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self._windows(kernel_size, stride, padding=padding, dilation=dilation)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode


class MaxPool2d(_Pool):
    """Largest element of each window: ``(N, C, H, W) -> (N, C, OH, OW)``.

    The stride is the window's size unless given. With ``return_indices`` also the place of each,
    for `MaxUnpool2d`.
    """

    ndim: ClassVar = 2
    function = staticmethod(functional.max_pool2d)

    @checked
    def __init__(
        self,
        kernel_size: Size2,
        stride: Size2 | None = None,
        padding: Count2 = 0,
        dilation: Size2 = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self._windows(kernel_size, stride, padding=padding, dilation=dilation)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode


class MaxPool3d(_Pool):
    """Largest element of each window: ``(N, C, D, H, W) -> (N, C, OD, OH, OW)``.

    The stride is the window's size unless given. With ``return_indices`` also the place of each,
    for `MaxUnpool3d`.
    """

    ndim: ClassVar = 3
    function = staticmethod(functional.max_pool3d)

    @checked
    def __init__(
        self,
        kernel_size: Size3,
        stride: Size3 | None = None,
        padding: Count3 = 0,
        dilation: Size3 = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self._windows(kernel_size, stride, padding=padding, dilation=dilation)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode


class AvgPool1d(_Pool):
    """Mean of each window: ``(N, C, L) -> (N, C, OL)``."""

    ndim: ClassVar = 1
    function = staticmethod(functional.avg_pool1d)

    @checked
    def __init__(
        self,
        kernel_size: Size1,
        stride: Size1 | None = None,
        padding: Count1 = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self._windows(kernel_size, stride, padding=padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad


class AvgPool2d(_Pool):
    """Mean of each window: ``(N, C, H, W) -> (N, C, OH, OW)``."""

    ndim: ClassVar = 2
    function = staticmethod(functional.avg_pool2d)

    @checked
    def __init__(
        self,
        kernel_size: Size2,
        stride: Size2 | None = None,
        padding: Count2 = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Size | None = None,
    ) -> None:
        self._windows(kernel_size, stride, padding=padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override


class AvgPool3d(_Pool):
    """Mean of each window: ``(N, C, D, H, W) -> (N, C, OD, OH, OW)``."""

    ndim: ClassVar = 3
    function = staticmethod(functional.avg_pool3d)

    @checked
    def __init__(
        self,
        kernel_size: Size3,
        stride: Size3 | None = None,
        padding: Count3 = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Size | None = None,
    ) -> None:
        self._windows(kernel_size, stride, padding=padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override


class LPPool1d(_Pool):
    """p-norm of each window: ``(N, C, L) -> (N, C, OL)``."""

    ndim: ClassVar = 1
    function = staticmethod(functional.lp_pool1d)

    @checked
    def __init__(
        self,
        norm_type: Positive,
        kernel_size: Size1,
        stride: Size1 | None = None,
        ceil_mode: bool = False,
    ) -> None:
        self._windows(kernel_size, stride)
        self.norm_type = norm_type
        self.ceil_mode = ceil_mode


class LPPool2d(_Pool):
    """p-norm of each window: ``(N, C, H, W) -> (N, C, OH, OW)``."""

    ndim: ClassVar = 2
    function = staticmethod(functional.lp_pool2d)

    @checked
    def __init__(
        self,
        norm_type: Positive,
        kernel_size: Size2,
        stride: Size2 | None = None,
        ceil_mode: bool = False,
    ) -> None:
        self._windows(kernel_size, stride)
        self.norm_type = norm_type
        self.ceil_mode = ceil_mode


class LPPool3d(_Pool):
    """p-norm of each window: ``(N, C, D, H, W) -> (N, C, OD, OH, OW)``."""

    ndim: ClassVar = 3
    function = staticmethod(functional.lp_pool3d)

    @checked
    def __init__(
        self,
        norm_type: Positive,
        kernel_size: Size3,
        stride: Size3 | None = None,
        ceil_mode: bool = False,
    ) -> None:
        self._windows(kernel_size, stride)
        self.norm_type = norm_type
        self.ceil_mode = ceil_mode


class _AdaptiveAvgPool(FunctionModule):
    @checked
    def __init__(self, output_size: Size | tuple[Size | None, ...]) -> None:
        self.output_size = output_size if isinstance(output_size, int) else tuple(output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means of windows chosen so that ``(N, C, L) -> (N, C, output_size)``."""

    function = staticmethod(functional.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means of windows chosen so that the space becomes ``output_size``; None keeps an axis."""

    function = staticmethod(functional.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means of windows chosen so that the space becomes ``output_size``; None keeps an axis."""

    function = staticmethod(functional.adaptive_avg_pool3d)


class _AdaptiveMaxPool(FunctionModule):
    @checked
    def __init__(
        self, output_size: Size | tuple[Size | None, ...], return_indices: bool = False
    ) -> None:
        self.output_size = output_size if isinstance(output_size, int) else tuple(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest elements of windows chosen so that ``(N, C, L) -> (N, C, output_size)``."""

    function = staticmethod(functional.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest elements of windows chosen so that the space becomes ``output_size``."""

    function = staticmethod(functional.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Largest elements of windows chosen so that the space becomes ``output_size``."""

    function = staticmethod(functional.adaptive_max_pool3d)


class _GlobalPool(Module):
    """One number a channel, whatever the space; the space is gone: ``(N, C, *) -> (N, C)``."""

    reduction: ClassVar[Callable[..., Any]]

    def forward(self, x: Any) -> Any:
        """Reduce over all axes from the third on.

        Raises
        ------
        ValueError
            There is no such axis.
        """
        shape = shape_of(x)
        if len(shape) < 3:
            raise ValueError(
                f"{type(self).__name__}: an input (N, C, …) with space to pool over is wanted, "
                f"got {shape}"
            )
        return type(self).reduction(x, tuple(range(2, len(shape))))


class GlobalAvgPool(_GlobalPool):
    """Mean over all space: ``(N, C, *) -> (N, C)``."""

    reduction = staticmethod(mean)


class GlobalMaxPool(_GlobalPool):
    """Largest element over all space: ``(N, C, *) -> (N, C)``."""

    reduction = staticmethod(amax)


class _MaxUnpool(Module):
    ndim: ClassVar[int]
    function: ClassVar[Callable[..., Any]]

    def _windows(self, kernel_size: Any, stride: Any, padding: Any) -> None:
        self.kernel_size = sizes("kernel_size", kernel_size, self.ndim)
        self.stride = self.kernel_size if stride is None else sizes("stride", stride, self.ndim)
        self.padding = sizes("padding", padding, self.ndim)

    def forward(self, x: Any, indices: Any, output_size: Any = None) -> Any:
        """Put each element where ``indices`` say that it came from, zeros elsewhere."""
        return type(self).function(
            x, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        """Return the windows."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Undo `MaxPool1d`, with zeros for what was not the largest."""

    ndim: ClassVar = 1
    function = staticmethod(functional.max_unpool1d)

    @checked
    def __init__(
        self, kernel_size: Size1, stride: Size1 | None = None, padding: Count1 = 0
    ) -> None:
        self._windows(kernel_size, stride, padding)


class MaxUnpool2d(_MaxUnpool):
    """Undo `MaxPool2d`, with zeros for what was not the largest."""

    ndim: ClassVar = 2
    function = staticmethod(functional.max_unpool2d)

    @checked
    def __init__(
        self, kernel_size: Size2, stride: Size2 | None = None, padding: Count2 = 0
    ) -> None:
        self._windows(kernel_size, stride, padding)


class MaxUnpool3d(_MaxUnpool):
    """Undo `MaxPool3d`, with zeros for what was not the largest."""

    ndim: ClassVar = 3
    function = staticmethod(functional.max_unpool3d)

    @checked
    def __init__(
        self, kernel_size: Size3, stride: Size3 | None = None, padding: Count3 = 0
    ) -> None:
        self._windows(kernel_size, stride, padding)
