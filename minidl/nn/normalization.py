"""Normalization layers, with their learned scales and running statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Fraction, Positive, Size, checked
from minidl.autograd import recording
from minidl.nn import expect, functional
from minidl.nn.function_module import FunctionModule
from minidl.nn.module import Buffer, Module, Parameter
from minidl.ops.shape import shape_of


class _ChannelNorm(Module):
    """What batch and instance normalization share: statistics and scales, one a channel."""

    infer: ClassVar = {"num_features": 1}
    infer_from_state: ClassVar = {"num_features": ("running_mean", 0)}
    ranks: ClassVar[tuple[int, ...]]

    def _set(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track: bool,
        dtype: DTypeLike | None, bias: bool,
    ) -> None:  # fmt: skip
        dtype = dtype or np.float32
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine and bias else None
        self.running_mean = Buffer(np.zeros(num_features, dtype)) if track else None
        self.running_var = Buffer(np.ones(num_features, dtype)) if track else None
        self.num_batches_tracked = Buffer(np.zeros((), np.int64)) if track else None

    def _expect(self, x: Any) -> None:
        """Hold rank, channels and dtype."""
        name, shape = type(self).__name__, shape_of(x)
        if len(shape) not in self.ranks:
            wanted = " or ".join(f"{rank}-d" for rank in self.ranks)
            raise ValueError(f"{name}: a {wanted} input is wanted, got {shape}")
        if shape[1] != self.num_features:
            raise ValueError(
                f"{name}: num_features {self.num_features} does not fit the {shape[1]} channels of "
                f"the input {shape}; make it {name}({shape[1]})"
            )
        expect.same_dtype(name, x, self.running_mean if self.weight is None else self.weight)

    def _count_batch(self) -> float:
        """Count a batch, and return its weight in the running statistics."""
        if self.num_batches_tracked is None:
            return 0.0
        weight: float = recording.run(_counted, self.num_batches_tracked, self.momentum)
        return weight

    def extra_repr(self) -> str:
        """Return the settings."""
        parts = [f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"]
        parts += ["affine=False"] if self.weight is None else []
        parts += ["track_running_stats=False"] if self.running_mean is None else []
        return ", ".join(parts)


def _counted(batches: Buffer, momentum: float | None) -> float:
    batches.value += 1
    # Without momentum, a plain average over all batches.
    return 1.0 / float(batches.value) if momentum is None else momentum


class _BatchNorm(_ChannelNorm):
    @checked
    def __init__(
        self,
        num_features: Size,
        eps: Positive = 1e-5,
        momentum: Fraction | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        self._set(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, x: Any) -> Any:
        """Normalize by the batch's statistics in training, by the running ones otherwise."""
        self._expect(x)
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training or self.running_mean is None,
            momentum=self._count_batch() if self.training else 0.0,
            eps=self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalization of features: ``(N, C)`` or ``(N, C, L)``.

    ``momentum=None`` averages over all batches. See `minidl.nn.functional.batch_norm` for the
    formula and the source.
    """

    ranks: ClassVar = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images: ``(N, C, H, W)``.

    ``momentum=None`` averages over all batches. See `minidl.nn.functional.batch_norm` for the
    formula and the source.
    """

    ranks: ClassVar = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalization of volumes: ``(N, C, D, H, W)``.

    ``momentum=None`` averages over all batches. See `minidl.nn.functional.batch_norm` for the
    formula and the source.
    """

    ranks: ClassVar = (5,)


class _InstanceNorm(_ChannelNorm):
    infer_from_state: ClassVar = {"num_features": ("weight", 0)}

    @checked
    def __init__(
        self,
        num_features: Size,
        eps: Positive = 1e-5,
        momentum: Fraction = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        self._set(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def _expect(self, x: Any) -> None:
        name = type(self).__name__
        layout = {3: "(N, C, L)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}[max(self.ranks)]
        expect.channels(name, "num_features", x, self.num_features, 1, layout)
        expect.same_dtype(name, x, self.running_mean if self.weight is None else self.weight)

    def forward(self, x: Any) -> Any:
        """Normalize each sample's channels by their own statistics."""
        self._expect(x)
        single = len(shape_of(x)) < max(self.ranks)
        x = x.reshape(1, *shape_of(x)) if single else x
        out = functional.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return out.reshape(shape_of(out)[1:]) if single else out


class InstanceNorm1d(_InstanceNorm):
    """Instance normalization of sequences: ``(N, C, L)`` or ``(C, L)``."""

    ranks: ClassVar = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalization of images: ``(N, C, H, W)`` or ``(C, H, W)``."""

    ranks: ClassVar = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalization of volumes: ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    ranks: ClassVar = (4, 5)


class LayerNorm(Module):
    """Normalize each sample over its last axes; see `minidl.nn.functional.layer_norm`.

    Shapes: ``(*, *normalized_shape)`` kept; ``weight`` and ``bias`` ``normalized_shape``.
    """

    infer: ClassVar = {"normalized_shape": -1}
    infer_from_state: ClassVar = {"normalized_shape": ("weight", 0)}

    @checked
    def __init__(
        self,
        normalized_shape: Size | Sequence[Size],
        eps: Positive = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        dtype, affine = dtype or np.float32, elementwise_affine
        self.weight = Parameter(np.ones(self.normalized_shape, dtype)) if affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, dtype)) if affine and bias else None

    def forward(self, x: Any) -> Any:
        """Return the normalized input."""
        _expect_last("LayerNorm", x, self.normalized_shape, self.weight)
        return functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return shape and eps."""
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """Divide each sample by its root mean square over the last axes.

    See `minidl.nn.functional.rms_norm`. Shapes as in `LayerNorm`.
    """

    infer: ClassVar = {"normalized_shape": -1}
    infer_from_state: ClassVar = {"normalized_shape": ("weight", 0)}

    @checked
    def __init__(
        self,
        normalized_shape: Size | Sequence[Size],
        eps: Positive | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        ones = np.ones(self.normalized_shape, dtype or np.float32)
        self.weight = Parameter(ones) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        """Return the normalized input."""
        _expect_last("RMSNorm", x, self.normalized_shape, self.weight)
        return functional.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Return shape and eps."""
        return f"{self.normalized_shape}, eps={self.eps}"


def _as_shape(shape: Any) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)


def _expect_last(name: str, x: Any, wanted: tuple[int, ...], weight: Any) -> None:
    shape = shape_of(x)
    if shape[-len(wanted) :] != wanted:
        raise ValueError(
            f"{name}: the last axes of the input {shape} must be {wanted}; "
            f"make it {name}({shape[-1] if shape else '?'})"
        )
    expect.same_dtype(name, x, weight)


class GroupNorm(Module):
    """Normalize groups of channels of each sample; see `minidl.nn.functional.group_norm`.

    Shapes: ``(N, num_channels, *)`` kept; ``weight`` and ``bias`` ``(num_channels,)``.
    """

    infer: ClassVar = {"num_channels": 1}
    infer_from_state: ClassVar = {"num_channels": ("weight", 0)}

    @checked
    def __init__(
        self,
        num_groups: Size,
        num_channels: Size,
        eps: Positive = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups must divide num_channels, got {num_groups} and "
                f"{num_channels}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.weight = Parameter(np.ones(num_channels, dtype or np.float32)) if affine else None
        zeros = np.zeros(num_channels, dtype or np.float32)
        self.bias = Parameter(zeros) if affine and bias else None

    def forward(self, x: Any) -> Any:
        """Return the normalized input."""
        shape = shape_of(x)
        if len(shape) < 2 or shape[1] != self.num_channels:
            raise ValueError(
                f"GroupNorm: an input (N, {self.num_channels}, …) is wanted, got {shape}"
            )
        expect.same_dtype("GroupNorm", x, self.weight)
        return functional.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return groups, channels, eps."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}"


class LocalResponseNorm(FunctionModule):
    """Divide by what neighbouring channels hold; see `functional.local_response_norm`.

    References
    ----------
    A. Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", NIPS
    2012, section 3.3.
    """

    function = staticmethod(functional.local_response_norm)

    @checked
    def __init__(self, size: Size, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
