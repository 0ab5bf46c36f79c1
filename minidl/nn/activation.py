"""Activations: elementwise nonlinearities, gates and softmaxes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import NonNegative, Positive, Size, checked
from minidl.nn import expect, functional
from minidl.nn.function_module import FunctionModule
from minidl.nn.module import Module, Parameter
from minidl.ops.shape import shape_of


class ReLU(FunctionModule):
    """max(x, 0), elementwise."""

    function = staticmethod(functional.relu)


class ReLU6(FunctionModule):
    """min(max(x, 0), 6), elementwise."""

    function = staticmethod(functional.relu6)


class LeakyReLU(FunctionModule):
    """x, and ``negative_slope`` · x where x < 0."""

    function = staticmethod(functional.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope


class PReLU(Module):
    """x, and a learned slope times x where x < 0: one slope, or one a channel (axis 1).

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", ICCV 2015.
    """

    @checked
    def __init__(
        self, num_parameters: Size = 1, init: float = 0.25, *, dtype: DTypeLike | None = None
    ) -> None:
        self.weight = Parameter(np.full(num_parameters, init, dtype or np.float32))

    def forward(self, x: Any) -> Any:
        """Return x or its share."""
        expect.same_dtype("PReLU", x, self.weight)
        return functional.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """Return the number of slopes."""
        return f"num_parameters={len(self.weight)}"


class RReLU(FunctionModule):
    """Leaky ReLU whose slope is drawn from lower..upper in training, and their mean otherwise."""

    function = staticmethod(functional.rrelu)

    @checked
    def __init__(
        self,
        lower: NonNegative = 1.0 / 8.0,
        upper: NonNegative = 1.0 / 3.0,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        if lower > upper:
            raise ValueError(f"RReLU: lower must be at most upper, got {lower} and {upper}")
        self.lower = lower
        self.upper = upper
        self.rng = np.random.default_rng() if rng is None else rng

    def forward(self, x: Any) -> Any:
        """Return x or a share of it."""
        return functional.rrelu(x, self.lower, self.upper, self.training, rng=self.rng)


class ELU(FunctionModule):
    """x, and alpha · (eˣ - 1) where x < 0."""

    function = staticmethod(functional.elu)

    @checked
    def __init__(self, alpha: NonNegative = 1.0) -> None:
        self.alpha = alpha


class CELU(FunctionModule):
    """max(0, x) + min(0, alpha · (e^(x / alpha) - 1))."""

    function = staticmethod(functional.celu)

    @checked
    def __init__(self, alpha: Positive = 1.0) -> None:
        self.alpha = alpha


class SELU(FunctionModule):
    """Scaled ELU, which keeps mean 0 and variance 1; see `minidl.nn.functional.selu`."""

    function = staticmethod(functional.selu)


class GELU(FunctionModule):
    """x Φ(x), elementwise; see `minidl.nn.functional.gelu`."""

    function = staticmethod(functional.gelu)

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate = approximate


class SiLU(FunctionModule):
    """x σ(x), elementwise (swish)."""

    function = staticmethod(functional.silu)


class Mish(FunctionModule):
    """x tanh(softplus(x)), elementwise."""

    function = staticmethod(functional.mish)


class Softplus(FunctionModule):
    """log(1 + e^(beta x)) / beta, and x itself where beta · x is above ``threshold``."""

    function = staticmethod(functional.softplus)

    @checked
    def __init__(self, beta: Positive = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold


class Softsign(FunctionModule):
    """x / (1 + |x|), elementwise."""

    function = staticmethod(functional.softsign)


class Sigmoid(FunctionModule):
    """1 / (1 + e⁻ˣ), elementwise."""

    function = staticmethod(functional.sigmoid)


class LogSigmoid(FunctionModule):
    """log(1 / (1 + e⁻ˣ)), elementwise."""

    function = staticmethod(functional.logsigmoid)


class Hardsigmoid(FunctionModule):
    """min(max(x / 6 + 1/2, 0), 1), elementwise."""

    function = staticmethod(functional.hardsigmoid)


class Hardswish(FunctionModule):
    """x · hardsigmoid(x), elementwise."""

    function = staticmethod(functional.hardswish)


class Tanh(FunctionModule):
    """Hyperbolic tangent, elementwise."""

    function = staticmethod(functional.tanh)


class Hardtanh(FunctionModule):
    """x, held between ``min_val`` and ``max_val``."""

    function = staticmethod(functional.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val must be below max_val, got {min_val}, {max_val}")
        self.min_val = min_val
        self.max_val = max_val


class Tanhshrink(FunctionModule):
    """x - tanh(x), elementwise."""

    function = staticmethod(functional.tanhshrink)


class Hardshrink(FunctionModule):
    """x, and 0 where |x| is at most ``lambd``."""

    function = staticmethod(functional.hardshrink)

    @checked
    def __init__(self, lambd: NonNegative = 0.5) -> None:
        self.lambd = lambd


class Softshrink(FunctionModule):
    """x moved towards 0 by ``lambd``, and 0 where |x| is at most that."""

    function = staticmethod(functional.softshrink)

    @checked
    def __init__(self, lambd: NonNegative = 0.5) -> None:
        self.lambd = lambd


class Threshold(FunctionModule):
    """x where it is above ``threshold``, and ``value`` elsewhere."""

    function = staticmethod(functional.threshold)

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold = threshold
        self.value = value


class GLU(FunctionModule):
    """Gate: the first half of axis ``dim`` times the sigmoid of the second."""

    function = staticmethod(functional.glu)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim


class Softmax(FunctionModule):
    """e^x, scaled to sum to 1 along ``dim``."""

    function = staticmethod(functional.softmax)

    def __init__(self, dim: int) -> None:
        self.dim = dim


class Softmin(FunctionModule):
    """Softmax of -x along ``dim``."""

    function = staticmethod(functional.softmin)

    def __init__(self, dim: int) -> None:
        self.dim = dim


class LogSoftmax(FunctionModule):
    """Logarithm of the softmax along ``dim``."""

    function = staticmethod(functional.log_softmax)

    def __init__(self, dim: int) -> None:
        self.dim = dim


class Softmax2d(Module):
    """Softmax over the channels of ``(N, C, H, W)`` or ``(C, H, W)``."""

    ranks: ClassVar = (3, 4)

    def forward(self, x: Any) -> Any:
        """Return probabilities over the channels.

        Raises
        ------
        ValueError
            ``x`` has neither three nor four axes.
        """
        if len(shape_of(x)) not in self.ranks:
            raise ValueError(f"Softmax2d: (N, C, H, W) or (C, H, W) is wanted, got {shape_of(x)}")
        return functional.softmax(x, -3)
