"""Initial values of parameters, drawn from a generator that the caller passes.

Each function returns an ndarray of the wanted shape; without ``rng`` a fresh, unseeded generator is
used. PyTorch's forms, which fill a tensor in place and end in an underscore, stand beside them:
``xavier_uniform_(tensor, gain=1.0, generator=rng)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from minidl.autograd.primitive import Array
from minidl.tensor import Tensor

Rng = np.random.Generator | None
FanMode = Literal["fan_in", "fan_out"]


def fan_in(shape: Sequence[int]) -> int:
    """Return how many inputs reach one output of a weight ``(out, in, *kernel)``.

    Raises
    ------
    ValueError
        The shape has fewer than two axes.
    """
    return _fans("fan_in", shape)[0]


def fan_out(shape: Sequence[int]) -> int:
    """Return how many outputs one input of a weight ``(out, in, *kernel)`` reaches."""
    return _fans("fan_out", shape)[1]


def _fans(name: str, shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) < 2:
        raise ValueError(f"{name}: a weight has at least two axes (out, in), got {tuple(shape)}")
    space = math.prod(shape[2:])
    return shape[1] * space, shape[0] * space


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which weights before a nonlinearity should grow.

    Raises
    ------
    ValueError
        The nonlinearity is unknown.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2))
    gains = {"relu": math.sqrt(2.0), "tanh": 5.0 / 3.0, "selu": 0.75}
    plain = "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d sigmoid"
    if nonlinearity in plain.split():
        return 1.0
    if nonlinearity not in gains:
        known = sorted([*gains, "leaky_relu", *plain.split()])
        raise ValueError(f"calculate_gain: {nonlinearity!r} is not one of {known}")
    return gains[nonlinearity]


def _generator(rng: Rng) -> np.random.Generator:
    return np.random.default_rng() if rng is None else rng


def _array(values: Array, dtype: DTypeLike | None) -> Array:
    return values.astype(dtype or np.float32)


def constant(shape: Sequence[int], value: float, *, dtype: DTypeLike | None = None) -> Array:
    """Return ``value`` everywhere."""
    return np.full(tuple(shape), value, dtype or np.float32)


def zeros(shape: Sequence[int], *, dtype: DTypeLike | None = None) -> Array:
    """Return zeros."""
    return constant(shape, 0.0, dtype=dtype)


def ones(shape: Sequence[int], *, dtype: DTypeLike | None = None) -> Array:
    """Return ones."""
    return constant(shape, 1.0, dtype=dtype)


def uniform(
    shape: Sequence[int],
    bound: float | None = None,
    *,
    a: float = 0.0,
    b: float = 1.0,
    dtype: DTypeLike | None = None,
    rng: Rng = None,
) -> Array:
    """Draw uniformly from a to b, or from -bound to bound where that is given."""
    low, high = (a, b) if bound is None else (-bound, bound)
    return _array(_generator(rng).uniform(low, high, tuple(shape)), dtype)


def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    std: float = 1.0,
    *,
    dtype: DTypeLike | None = None,
    rng: Rng = None,
) -> Array:
    """Draw from a normal distribution."""
    return _array(_generator(rng).normal(mean, std, tuple(shape)), dtype)


def trunc_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    dtype: DTypeLike | None = None,
    rng: Rng = None,
) -> Array:
    """Draw from a normal distribution, and anew what lies outside of a..b.

    Raises
    ------
    ValueError
        There is (almost) nothing of the distribution between a and b.
    """
    low, high = (a - mean) / std, (b - mean) / std
    share = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    if not share > 1e-4:
        raise ValueError(
            f"trunc_normal: {a} to {b} holds nothing of a normal distribution with mean {mean}, "
            f"std {std}"
        )
    rng = _generator(rng)
    values = rng.normal(mean, std, tuple(shape))
    while (outside := (values < a) | (values > b)).any():
        values[outside] = rng.normal(mean, std, int(outside.sum()))
    return _array(values, dtype)


def xavier_uniform(
    shape: Sequence[int], gain: float = 1.0, *, dtype: DTypeLike | None = None, rng: Rng = None
) -> Array:
    """Draw uniformly within ``gain · √(6 / (fan_in + fan_out))``.

    References
    ----------
    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, equation 16.
    """
    bound = gain * math.sqrt(6.0 / max(1, sum(_fans("xavier_uniform", shape))))
    return uniform(shape, bound, dtype=dtype, rng=rng)


def xavier_normal(
    shape: Sequence[int], gain: float = 1.0, *, dtype: DTypeLike | None = None, rng: Rng = None
) -> Array:
    """Draw normally with ``std = gain · √(2 / (fan_in + fan_out))``; source as `xavier_uniform`."""
    std = gain * math.sqrt(2.0 / max(1, sum(_fans("xavier_normal", shape))))
    return normal(shape, 0.0, std, dtype=dtype, rng=rng)


def _kaiming_std(name: str, shape: Sequence[int], a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans(name, shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def kaiming_uniform(
    shape: Sequence[int],
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    dtype: DTypeLike | None = None,
    rng: Rng = None,
) -> Array:
    """Draw uniformly within ``gain · √(3 / fan)``, for leaky-relu slope ``a``.

    With ``a = √5`` this is PyTorch's default for Linear and convolutions.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 14 and below.
    """
    std = _kaiming_std("kaiming_uniform", shape, a, mode, nonlinearity)
    return uniform(shape, math.sqrt(3.0) * std, dtype=dtype, rng=rng)


def kaiming_normal(
    shape: Sequence[int],
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    dtype: DTypeLike | None = None,
    rng: Rng = None,
) -> Array:
    """Draw normally with ``std = gain / √fan``; source as `kaiming_uniform`."""
    std = _kaiming_std("kaiming_normal", shape, a, mode, nonlinearity)
    return normal(shape, 0.0, std, dtype=dtype, rng=rng)


def lecun_normal(shape: Sequence[int], *, dtype: DTypeLike | None = None, rng: Rng = None) -> Array:
    """Draw from a normal distribution cut off at two deviations, with variance ``1 / fan_in``.

    References
    ----------
    Y. LeCun et al., "Efficient BackProp", 1998; cut off as in Flux and Keras.
    """
    # The deviation of a standard normal distribution that is cut off at -2 and 2.
    std = 1.0 / math.sqrt(max(1, fan_in(shape))) / 0.8796256610342398
    return trunc_normal(shape, 0.0, std, -2.0 * std, 2.0 * std, dtype=dtype, rng=rng)


def orthogonal(
    shape: Sequence[int], gain: float = 1.0, *, dtype: DTypeLike | None = None, rng: Rng = None
) -> Array:
    """Return a matrix with orthonormal rows or columns, drawn evenly; further axes join the second.

    References
    ----------
    A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", ICLR 2014.
    """
    _fans("orthogonal", shape)
    rows, columns = shape[0], math.prod(shape[1:])
    tall = _generator(rng).normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diagonal(r))  # without it the distribution is not even
    matrix = q if rows >= columns else q.T
    return _array(gain * matrix.reshape(tuple(shape)), dtype)


def sparse(
    shape: Sequence[int],
    sparsity: float,
    std: float = 0.01,
    *,
    dtype: DTypeLike | None = None,
    rng: Rng = None,
) -> Array:
    """Draw a matrix normally, with the share ``sparsity`` of each column zero.

    Raises
    ------
    ValueError
        The shape is no matrix's, or the share is not from 0 to 1.

    References
    ----------
    J. Martens, "Deep learning via Hessian-free optimization", ICML 2010.
    """
    if len(shape) != 2 or not 0.0 <= sparsity <= 1.0:
        raise ValueError(
            f"sparse: a matrix and a share from 0 to 1 are wanted, got {tuple(shape)}, {sparsity}"
        )
    rng = _generator(rng)
    values = rng.normal(0.0, std, tuple(shape))
    zero = rng.permuted(np.arange(shape[0])[:, None].repeat(shape[1], 1), axis=0)
    values[zero < math.ceil(sparsity * shape[0])] = 0.0
    return _array(values, dtype)


def eye(shape: Sequence[int], *, dtype: DTypeLike | None = None) -> Array:
    """Return the identity matrix.

    Raises
    ------
    ValueError
        The shape is no matrix's.
    """
    if len(shape) != 2:
        raise ValueError(f"eye: a matrix is wanted, got {tuple(shape)}")
    return np.eye(shape[0], shape[1], dtype=dtype or np.float32)


def identity(shape: Sequence[int], gain: float = 1.0, *, dtype: DTypeLike | None = None) -> Array:
    """Return what lets inputs through unchanged: a matrix's diagonal, a kernel's middle (Flux).

    A single axis (a bias) gives zeros.
    """
    if len(shape) < 2:
        return zeros(shape, dtype=dtype)
    if len(shape) == 2:
        return _array(gain * np.eye(shape[0], shape[1]), dtype)
    return _array(gain * dirac(shape, dtype=np.float64), dtype)


def dirac(shape: Sequence[int], groups: int = 1, *, dtype: DTypeLike | None = None) -> Array:
    """Return kernels that let as many channels as possible through unchanged.

    Raises
    ------
    ValueError
        The shape has not 3 to 5 axes, or ``groups`` does not divide the outputs.
    """
    if not 3 <= len(shape) <= 5 or shape[0] % groups:
        raise ValueError(
            f"dirac: a kernel with 3 to 5 axes and outputs that {groups} divides is wanted, got "
            f"{tuple(shape)}"
        )
    values = np.zeros(tuple(shape), dtype or np.float32)
    middle = tuple(n // 2 for n in shape[2:])
    outputs = shape[0] // groups
    for group in range(groups):
        for channel in range(min(outputs, shape[1])):
            values[(group * outputs + channel, channel, *middle)] = 1.0
    return values


def uniform_fan_in(
    shape: Sequence[int], fan: int, *, dtype: DTypeLike | None = None, rng: Rng = None
) -> Array:
    """Draw uniformly within 1/√fan: PyTorch's default for biases."""
    return uniform(shape, 1.0 / math.sqrt(max(1, fan)), dtype=dtype, rng=rng)


def _in_place(function: Callable[..., Array]) -> Callable[..., Any]:
    """Make PyTorch's form of an initializer: it fills a tensor and returns it."""
    drawn = "rng" in function.__annotations__

    def fill(tensor: Tensor, *args: Any, generator: Rng = None, **settings: Any) -> Tensor:
        how = {"rng": generator} if drawn else {}
        tensor.copy_(function(tensor.shape, *args, dtype=tensor.dtype, **how, **settings))
        return tensor

    fill.__name__ = fill.__qualname__ = f"{function.__name__}_"
    fill.__doc__ = f"Fill a tensor as `{function.__name__}` does, and return it."
    return fill


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Rng = None) -> Tensor:
    """Fill a tensor uniformly from a to b, and return it."""
    tensor.copy_(uniform(tensor.shape, a=a, b=b, dtype=tensor.dtype, rng=generator))
    return tensor


constant_ = _in_place(constant)
zeros_ = _in_place(zeros)
ones_ = _in_place(ones)
normal_ = _in_place(normal)
trunc_normal_ = _in_place(trunc_normal)
xavier_uniform_ = _in_place(xavier_uniform)
xavier_normal_ = _in_place(xavier_normal)
kaiming_uniform_ = _in_place(kaiming_uniform)
kaiming_normal_ = _in_place(kaiming_normal)
lecun_normal_ = _in_place(lecun_normal)
orthogonal_ = _in_place(orthogonal)
sparse_ = _in_place(sparse)
eye_ = _in_place(eye)
identity_ = _in_place(identity)
dirac_ = _in_place(dirac)
