"""Affine maps, and what only changes the shape."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Size, checked
from minidl.nn import expect, functional, init
from minidl.nn.function_module import FunctionModule
from minidl.nn.module import Module, Parameter
from minidl.ops.shape import flatten, shape_of, unflatten


class Identity(Module):
    """What it is given, unchanged."""

    def forward(self, x: Any) -> Any:
        """Return ``x``."""
        return x


class Linear(Module):
    """Affine map ``y = x Wᵀ + b``.

    Shapes: ``x (*, in_features)`` -> ``(*, out_features)``; ``weight (out_features, in_features)``,
    ``bias (out_features,)``.
    """

    infer: ClassVar = {"in_features": -1}
    infer_from_state: ClassVar = {"in_features": ("weight", 1)}

    @checked
    def __init__(
        self,
        in_features: Size,
        out_features: Size,
        bias: bool = True,
        *,
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
        weight = self.weight
        expect.same_dtype("Linear", x, weight)
        shape = shape_of(x)
        if not shape or shape[-1] != weight.shape[1]:
            raise ValueError(_wrong_features(shape, weight.shape))
        return functional.linear(x, weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}" + (", bias=False" if self.bias is None else "")


def _wrong_features(shape: tuple[int, ...], weight: tuple[int, ...]) -> str:
    text = f"linear: input {shape} does not fit weight {weight}: "
    if not shape:
        return text + "a single number has no features"
    whole = int(np.prod(shape[1:]))
    if len(shape) > 2 and whole == weight[1]:
        return text + f"put Flatten() before it, which makes it {(shape[0], whole)}"
    fix = shape[-1] if len(shape) <= 2 else whole
    return (
        text + f"the last axis of the input must have {weight[1]} features; make it "
        f"Linear({fix}, {weight[0]})" + (" after Flatten()" if len(shape) > 2 else "")
    )


class Bilinear(Module):
    """``y = x₁ᵀ A x₂ + b``, one matrix A an output.

    Shapes: ``(*, in1_features)``, ``(*, in2_features)`` -> ``(*, out_features)``;
    ``weight (out_features, in1_features, in2_features)``.
    """

    @checked
    def __init__(
        self,
        in1_features: Size,
        in2_features: Size,
        out_features: Size,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        shape, bound = (out_features, in1_features, in2_features), 1.0 / sqrt(in1_features)
        self.weight = Parameter(init.uniform(shape, bound, dtype=dtype, rng=rng))
        self.bias = (
            Parameter(init.uniform((out_features,), bound, dtype=dtype, rng=rng)) if bias else None
        )

    def forward(self, x1: Any, x2: Any) -> Any:
        """Return one number an output for each pair of rows."""
        expect.same_dtype("Bilinear", x1, self.weight)
        expect.same_dtype("Bilinear", x2, self.weight)
        return functional.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        out, in1, in2 = self.weight.shape
        return f"{in1}, {in2}, {out}" + (", bias=False" if self.bias is None else "")


class Flatten(FunctionModule):
    """Join axes into one, by default all but the batch: ``(N, *) -> (N, prod(*))``."""

    function = staticmethod(flatten)

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim


class Unflatten(Module):
    """Cut one axis into several: ``Unflatten(1, (2, 3))`` makes ``(N, 6)`` to ``(N, 2, 3)``."""

    @checked
    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: Any) -> Any:
        """Return ``x`` with the axis cut."""
        return unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Return the axis and its parts."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class CosineSimilarity(FunctionModule):
    """Cosine of the angle between two arrays along ``dim``."""

    function = staticmethod(functional.cosine_similarity)

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim = dim
        self.eps = eps


class PairwiseDistance(FunctionModule):
    """p-norm of the difference of rows."""

    function = staticmethod(functional.pairwise_distance)

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p = p
        self.eps = eps
        self.keepdim = keepdim
