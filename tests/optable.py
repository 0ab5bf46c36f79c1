"""The op table: one entry for every public function of `minidl.ops` and `minidl.nn.functional`.

An entry says how to call the function (``samples``), what must come out (``reference``), which of
PyTorch's functions does the same (``torch``) and what must be refused (``errors``). The tests in
``tests/ops`` are generated from it; a public function or a primitive that no entry reaches fails
them. To add one: write its line here, look at what fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from opreferences import (
    all_dims_by_default,
    average,
    drop,
    elementwise_loss,
    extremum,
    loop_conv2d,
    loop_pool2d,
    moment,
    reducing,
    reference_batch_norm,
    reference_cross_entropy,
    reference_drop,
    reference_expand,
    reference_flatten,
    reference_gelu,
    reference_log_softmax,
    reference_logsumexp,
    reference_nll,
    reference_one_hot,
    torch_batch_norm,
    torch_extremum,
    torch_loss,
    torch_reducing,
    torch_written,
    written,
)
from opsamples import (
    SPECIAL,
    Rng,
    Sample,
    arg_extrema,
    averages,
    batches,
    binary,
    call,
    conditions,
    convolutions,
    cross_entropies,
    dropouts,
    extrema,
    gelus,
    grid,
    indexes,
    joins,
    labels,
    linears,
    losses,
    matmuls,
    moments,
    pairs,
    pools,
    powers,
    predicate,
    reduction,
    shaped,
    softmaxes,
    sums_of_exponentials,
    unary,
    writes,
)
from scipy import special

import minidl
from minidl import Tensor, ops
from minidl.nn import functional

Error = tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]


@dataclass(frozen=True)
class Op:
    """One public function; see the module's docstring."""

    name: str
    samples: Callable[[Rng], Iterable[Sample]]
    reference: Callable[..., Any]
    #: Dotted name below ``torch``, or a function of the torch module and the arguments.
    torch: str | Callable[..., Any] | None = None
    errors: tuple[Error, ...] = ()
    #: False: the result is a constant to every transform.
    differentiable: bool = True
    #: The reference is one NumPy function, and `minidl.numpy_protocols` takes it.
    protocol: bool = False
    #: float32 in, float32 out.
    follows_dtype: bool = True
    #: In place of the public function, where that wants a generator or something else that lasts.
    function: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        public = getattr(ops, self.name, None) or getattr(functional, self.name)
        return (self.function or public)(*args, **kwargs)

    def __repr__(self) -> str:
        return self.name


def bad(*args: Any, raises: type[Exception], match: str, **kwargs: Any) -> Error:
    return args, kwargs, raises, match


def of(shape: tuple[int, ...], dtype: Any = float) -> Any:
    return np.ones(shape, dtype)


LOSS_ERRORS = (
    bad(
        of((3, 4)), of((2,), int), raises=ValueError, match=r"\(3, 4\) want class indices .*\(2,\)"
    ),
    bad(of((2, 3)), np.array([0, 3]), raises=IndexError, match=r"target 3 \(row 1\) .* 0 to 2"),
    bad(of((2, 3)), np.array([0, -1]), raises=IndexError, match=r"target -1 \(row 1\)"),
    bad(of((1, 3)), np.array([0]), reduction="avg", raises=ValueError, match="reduction.*'avg'"),
    bad(of((1, 3)), np.array([True]), raises=TypeError, match="must be integers, got bool"),
    bad(of(()), np.array(0), raises=ValueError, match=r"logits of shape \(C,\)"),
)


JOIN_ERRORS = (
    bad([], raises=ValueError, match="at least one tensor"),
    bad(
        [of((2, 3)), of((2, 2))], raises=ValueError, match=r"cat\(float64\[2, 3\], float64\[2, 2\]"
    ),
    bad([of((2, 3))], 2, raises=IndexError, match="cat: dim 2 is out of range for 2"),
    bad([of(()), of(())], raises=IndexError, match="cat: dim 0 is out of range for 0"),
)


REDUCE_ERRORS = (
    bad(of((2, 3)), 2, raises=IndexError, match=r"dim 2 is out of range for 2 .*-2 to 1"),
    bad(of((2, 3)), (0, -2), raises=ValueError, match="names an axis twice"),
)
FLOAT_ERRORS = (
    *REDUCE_ERRORS,
    bad(of((2,), int), raises=TypeError, match="floating dtype is wanted, got int64"),
)
SHAPES_DIFFER = bad(of((2, 3)), of((4,)), raises=ValueError, match=r"float64\[2, 3\], float64\[4\]")
NO_NAN = SPECIAL[:-1]  # PyTorch's derivatives at NaN differ, of NaN they are moot
COMPARE = {
    "samples": binary(),
    "differentiable": False,
    "protocol": True,
    "errors": (SHAPES_DIFFER,),
}
POOL_ERRORS = (
    bad(of((3, 3)), 2, raises=ValueError, match=r"\(N, C, H, W\) are wanted, got \(3, 3\)"),
    bad(of((1, 1, 3, 3)), 4, raises=ValueError, match=r"kernel \(4, 4\).* image \(3, 3\)"),
    bad(of((1, 1, 3, 3)), 2, 1, 2, raises=ValueError, match="more than half"),
    bad(of((1, 1, 3, 3)), 0, raises=ValueError, match="kernel_size must be at least 1"),
    bad(of((1, 1, 3, 3)), (2, 2, 2), raises=ValueError, match="kernel_size.*two"),
    bad(of((1, 1, 3, 3)), 2, 0, raises=ValueError, match="stride and dilation must be at least 1"),
)
PAIR_ERRORS = (
    bad(of((2,)), of((2, 1)), raises=ValueError, match=r"\(2,\) and target \(2, 1\).*same shape"),
    bad(of((2,)), of((2,)), reduction="avg", raises=ValueError, match="reduction.*'avg'"),
)

OPS = [
    # arithmetic
    Op("add", binary(), np.add, "add", (SHAPES_DIFFER,), protocol=True),
    Op("sub", binary(), np.subtract, "sub", (SHAPES_DIFFER,), protocol=True),
    Op("mul", binary(), np.multiply, "mul", (SHAPES_DIFFER,), protocol=True),
    Op("div", binary(0.5, 2.0), np.divide, "div", (SHAPES_DIFFER,), protocol=True),
    Op("neg", unary(), np.negative, "neg", protocol=True),
    Op("pow", powers, np.power, "pow", (SHAPES_DIFFER,), protocol=True),
    Op("maximum", binary(), np.maximum, "maximum", (SHAPES_DIFFER,), protocol=True),
    Op("minimum", binary(), np.minimum, "minimum", (SHAPES_DIFFER,), protocol=True),
    Op(
        "where",
        conditions,
        np.where,
        "where",
        protocol=True,
        errors=(
            bad(of((2,)), of((2,)), of((2,)), raises=TypeError, match="boolean, got float64"),
            bad(of((2,), bool), of((3,)), 0.0, raises=ValueError, match=r"where\(bool\[2\], float"),
        ),
    ),
    Op("eq", reference=np.equal, torch="eq", **COMPARE),
    Op("ne", reference=np.not_equal, torch="ne", **COMPARE),
    Op("lt", reference=np.less, torch="lt", **COMPARE),
    Op("le", reference=np.less_equal, torch="le", **COMPARE),
    Op("gt", reference=np.greater, torch="gt", **COMPARE),
    Op("ge", reference=np.greater_equal, torch="ge", **COMPARE),
    Op(
        "logical_and", predicate, np.logical_and, "logical_and", differentiable=False, protocol=True
    ),
    Op("logical_or", predicate, np.logical_or, "logical_or", differentiable=False, protocol=True),
    Op(
        "logical_not",
        lambda rng: [call(np.array([True, False])), call(np.array(False))],
        np.logical_not,
        "logical_not",
        (),
        False,
        True,
    ),
    # elementwise
    Op("exp", unary(), np.exp, "exp", protocol=True),
    Op("log", unary(0.3, 3.0), np.log, "log", protocol=True),
    Op("sqrt", unary(0.3, 3.0), np.sqrt, "sqrt", protocol=True),
    Op("square", unary(), np.square, "square", protocol=True),
    Op("tanh", unary(), np.tanh, "tanh", protocol=True),
    Op(
        "sigmoid",
        unary(special=[0.0, 1e4, -1e4, np.inf, -np.inf, np.nan]),
        special.expit,
        "sigmoid",
    ),
    Op("relu", unary(special=NO_NAN), lambda x: np.maximum(x, 0), "relu"),
    Op("sign", unary(special=NO_NAN), np.sign, "sign", protocol=True),
    Op("abs", unary(special=NO_NAN), np.abs, "abs", protocol=True),
    Op("erf", unary(-4.5, 4.5), special.erf, "erf"),
    # reductions
    Op("sum", reduction(), reducing(np.sum), torch_reducing("sum"), REDUCE_ERRORS, protocol=True),
    Op(
        "mean",
        reduction(empty=False),
        reducing(np.mean),
        torch_reducing("mean"),
        FLOAT_ERRORS,
        protocol=True,
    ),
    Op("var", moments, moment(np.var), "var", FLOAT_ERRORS, protocol=True),
    Op("std", moments, moment(np.std), "std", FLOAT_ERRORS, protocol=True),
    Op(
        "amax",
        reduction(False, ties=True),
        reducing(np.max),
        torch_reducing("amax"),
        protocol=True,
        errors=(
            *REDUCE_ERRORS,
            bad(of((0, 2)), 0, raises=ValueError, match=r"amax\(float64\[0, 2\]"),
        ),
    ),
    Op(
        "amin",
        reduction(False, ties=True),
        reducing(np.min),
        torch_reducing("amin"),
        REDUCE_ERRORS,
        protocol=True,
    ),
    Op("max", extrema, extremum(np.argmax, np.max), torch_extremum("max"), REDUCE_ERRORS[:1]),
    Op("min", extrema, extremum(np.argmin, np.min), torch_extremum("min"), REDUCE_ERRORS[:1]),
    Op("argmax", arg_extrema, reducing(np.argmax), "argmax", REDUCE_ERRORS[:1], False, True),
    Op("argmin", arg_extrema, reducing(np.argmin), "argmin", REDUCE_ERRORS[:1], False, True),
    # shape
    Op(
        "reshape",
        shaped(((2, 6), (3, 4)), ((2, 6), -1), ((2, 3), 3, -1), ((), (1, 1)), ((0, 3), (3, 0))),
        lambda x, *s: np.reshape(x, s[0] if isinstance(s[0], tuple) else s),
        lambda torch, x, *s: x.reshape(*s),
        protocol=True,
        errors=(
            bad(of((2, 3)), (4, 2), raises=ValueError, match=r"reshape\(float64\[2, 3\]\).*4"),
        ),
    ),
    Op(
        "flatten",
        shaped(((2, 3),), ((2, 3, 2), 1), ((2, 3, 2), 0, -2), ((),), ((0, 3),)),
        reference_flatten,
        "flatten",
        errors=(
            bad(of((2, 3)), 1, 0, raises=ValueError, match="start_dim 1 comes after end_dim 0"),
            bad(of((2, 3)), 2, raises=IndexError, match="flatten: dim 2 is out of range"),
        ),
    ),
    Op(
        "squeeze",
        shaped(((1, 3, 1),), ((1, 3, 1), 0), ((1, 3, 1), -1), ((),)),
        lambda x, dim=None: np.squeeze(x, dim),
        "squeeze",
        protocol=True,
        errors=(bad(of((1, 3)), 2, raises=IndexError, match="squeeze: dim 2 is out of range"),),
    ),
    Op(
        "unsqueeze",
        shaped(((2, 3), 0), ((2, 3), -1), ((2, 3), 1), ((), 0)),
        lambda x, dim: np.expand_dims(x, dim),
        "unsqueeze",
        protocol=True,
        errors=(bad(of((2, 3)), 3, raises=IndexError, match="unsqueeze: dim 3 is out of range"),),
    ),
    Op(
        "transpose",
        shaped(((2, 3), 0, 1), ((2, 3, 2), -1, 0), ((0, 3), 0, 1), ((2, 3), 1, 1)),
        lambda x, a, b: np.swapaxes(x, a, b),
        "transpose",
        protocol=True,
        errors=(bad(of((2, 3)), 0, 2, raises=IndexError, match="transpose: dim 2"),),
    ),
    Op(
        "permute",
        shaped(((2, 3, 2), (2, 0, 1)), ((2, 3), (-1, 0)), ((), ()), ((0, 2), (1, 0))),
        lambda x, dims: np.transpose(x, dims),
        "permute",
        protocol=True,
        errors=(bad(of((2, 3)), (0, 0), raises=ValueError, match="each of the 2 axes once"),),
    ),
    Op(
        "broadcast_to",
        shaped(((3,), (2, 3)), ((2, 1), (2, 3)), ((), (2,)), ((2,), (2,)), ((1,), (0,))),
        lambda x, shape: np.broadcast_to(x, shape),
        "broadcast_to",
        protocol=True,
        errors=(bad(of((2,)), (3,), raises=ValueError, match=r"broadcast_to\(float64\[2\]\)"),),
    ),
    Op(
        "expand",
        shaped(((3,), 2, 3), ((2, 1), (-1, 3)), ((), (2,)), ((2, 1), 3, 2, -1)),
        reference_expand,
        lambda torch, x, *s: x.expand(*s),
        errors=(bad(of((2, 3)), (3,), raises=ValueError, match=r"expand: .*\(2, 3\).*\(3,\)"),),
    ),
    Op("cat", joins, lambda xs, dim=0: np.concatenate(xs, dim), "cat", JOIN_ERRORS, protocol=True),
    Op(
        "concatenate",
        joins,
        lambda xs, dim=0: np.concatenate(xs, dim),
        "concatenate",
        JOIN_ERRORS,
        protocol=True,
    ),
    Op(
        "stack",
        lambda rng: (
            [call([grid(rng, 2, 3), grid(rng, 2, 3)], d) for d in (0, 1, -1)]
            + [call((grid(rng), grid(rng), grid(rng)))]
        ),
        lambda xs, dim=0: np.stack(xs, dim),
        "stack",
        protocol=True,
        errors=(
            bad([of((2,)), of((3,))], raises=ValueError, match=r"one shape.*\(2,\), \(3,\)"),
            bad([of((2,))], 2, raises=IndexError, match="dim 2 is out of range"),
            bad([], raises=ValueError, match="at least one tensor"),
        ),
    ),
    Op(
        "cast",
        shaped(((2, 3), np.float32), ((2,), np.float64), ((), "float32")),
        lambda x, dtype: x.astype(dtype),
        lambda torch, x, dtype: x.to(getattr(torch, np.dtype(dtype).name)),
        follows_dtype=False,
    ),
    Op("clone", unary(), np.copy, "clone", protocol=True),
    Op("stop_gradient", unary(), lambda x: x, differentiable=False),
    # indexing
    Op(
        "getitem",
        indexes,
        lambda x, index: x[index],
        lambda torch, x, index: x[index],
        errors=(
            bad(
                of((2, 3)), 2, raises=IndexError, match=r"getitem\(float64\[2, 3\]\).*out of bounds"
            ),
            bad(of((2, 3)), of((2,)), raises=IndexError, match="integers or booleans, got float64"),
            bad(of((2, 3)), (0, 0, 0), raises=IndexError, match="too many indices"),
        ),
    ),
    Op(
        "setitem",
        writes,
        written,
        torch_written,
        errors=(
            bad(
                of((2, 3)),
                2,
                1.0,
                raises=IndexError,
                match=r"setitem\(float64\[2, 3\].*out of bounds",
            ),
            bad(of((2,), int), 0, of(()), raises=TypeError, match="float64 into an array of int64"),
            bad(
                of((2, 3)),
                0,
                of((2,)),
                raises=ValueError,
                match=r"setitem\(float64\[2, 3\], float64\[2\]",
            ),
        ),
    ),
    # products and convolutions
    Op(
        "matmul",
        matmuls,
        np.matmul,
        "matmul",
        protocol=True,
        errors=(
            bad(
                of((2, 3)),
                of((2, 3)),
                raises=ValueError,
                match=r"\(2, 3\) and \(2, 3\) .*3 columns meet 2 rows",
            ),
            bad(of((2, 2, 3)), of((2, 3)), raises=ValueError, match="3 columns meet 2 rows"),
            bad(of(()), of((2, 3)), raises=ValueError, match="a single number is no matrix"),
        ),
    ),
    Op(
        "linear",
        linears,
        lambda x, w, bias=None: x @ w.T + (0 if bias is None else bias),
        "nn.functional.linear",
        errors=(
            bad(
                of((2, 3)),
                of((2, 4)),
                raises=ValueError,
                match=r"input \(2, 3\) does not fit weight \(2, 4\).*4 features",
            ),
            bad(
                of((2, 3)),
                of((2, 3)),
                of((3,)),
                raises=ValueError,
                match=r"bias \(3,\) does not fit",
            ),
        ),
    ),
    Op(
        "conv2d",
        convolutions,
        loop_conv2d,
        "nn.functional.conv2d",
        errors=(
            bad(
                of((1, 2, 3, 3)),
                of((1, 3, 2, 2)),
                raises=ValueError,
                match="same number of channels",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 4, 4)),
                raises=ValueError,
                match=r"kernel \(4, 4\).*image \(3, 3\)",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 2, 2)),
                padding="same",
                raises=ValueError,
                match="odd reach",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 2, 2)),
                padding="full",
                raises=ValueError,
                match="'full'",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 2, 2)),
                stride=0,
                raises=ValueError,
                match="at least 1.*\\(0, 0\\)",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((2, 1, 2, 2)),
                of((3,)),
                raises=ValueError,
                match=r"bias \(3,\)",
            ),
        ),
    ),
    Op(
        "max_pool2d",
        pools,
        lambda x, *a, **k: loop_pool2d(x, *a, **k, take=np.max, fill=-np.inf),
        "nn.functional.max_pool2d",
        POOL_ERRORS,
    ),
    Op("avg_pool2d", averages, average, "nn.functional.avg_pool2d", POOL_ERRORS),
    Op(
        "dropout",
        dropouts,
        reference_drop,
        function=drop,
        errors=(bad(of((2,)), 1.5, raises=ValueError, match="p must be from 0 to 1, got 1.5"),),
    ),
    # softmax and losses
    Op(
        "softmax",
        softmaxes,
        lambda x, dim: np.exp(reference_log_softmax(x, dim)),
        "softmax",
        (bad(of((2, 3)), 2, raises=IndexError, match="softmax: dim 2"),),
    ),
    Op(
        "log_softmax",
        softmaxes,
        reference_log_softmax,
        "log_softmax",
        (bad(of((2, 3)), 2, raises=IndexError, match="log_softmax: dim 2"),),
    ),
    Op(
        "logsumexp",
        sums_of_exponentials,
        reference_logsumexp,
        torch_reducing("logsumexp"),
        REDUCE_ERRORS,
        function=all_dims_by_default(ops.logsumexp),
    ),
    Op(
        "cross_entropy",
        cross_entropies,
        reference_cross_entropy,
        torch_loss("cross_entropy"),
        (
            *LOSS_ERRORS,
            bad(of((1, 3)), np.array([0]), label_smoothing=1.5, raises=ValueError, match="got 1.5"),
        ),
    ),
    Op(
        "nll_loss",
        losses,
        reference_nll,
        torch_loss("nll_loss"),
        (*LOSS_ERRORS, bad(of((1, 3)), of((1, 3)), raises=TypeError, match="integers.*float64")),
    ),
    # minidl.nn.functional
    Op(
        "gelu",
        gelus,
        reference_gelu,
        "nn.functional.gelu",
        (
            bad(
                of((2,)),
                approximate="exact",
                raises=ValueError,
                match="'none' or 'tanh', got 'exact'",
            ),
        ),
    ),
    Op(
        "batch_norm",
        batches,
        reference_batch_norm,
        torch_batch_norm,
        errors=(
            bad(
                of((3,)),
                None,
                None,
                training=True,
                raises=ValueError,
                match=r"\(N, C, …\) is wanted",
            ),
            bad(
                of((1, 3)),
                None,
                None,
                training=True,
                raises=ValueError,
                match="more than one value",
            ),
            bad(of((2, 3)), None, None, raises=ValueError, match="running_mean and running_var"),
            bad(
                of((2, 3)),
                None,
                None,
                of((2,)),
                training=True,
                raises=ValueError,
                match=r"weight \(2,\)",
            ),
        ),
    ),
    Op("mse_loss", pairs, elementwise_loss(np.square), "nn.functional.mse_loss", PAIR_ERRORS),
    Op("l1_loss", pairs, elementwise_loss(np.abs), "nn.functional.l1_loss", PAIR_ERRORS),
    Op(
        "one_hot",
        labels,
        reference_one_hot,
        lambda torch, x, num_classes=-1: torch.nn.functional.one_hot(x, num_classes),
        (bad(np.array([0, 3]), 3, raises=IndexError, match="0 to 3 do not fit 3 classes"),),
        False,
    ),
]

BY_NAME = {op.name: op for op in OPS}
CASES = [
    (op, i, sample) for op in OPS for i, sample in enumerate(op.samples(np.random.default_rng(7)))
]


def plain(value: Any) -> Any:
    """Arrays at the bottom of boxes, however many are returned."""
    if isinstance(value, tuple):
        return tuple(plain(part) for part in value)
    while isinstance(value, Tensor):
        value = value.value
    return value


def first(value: Any) -> Any:
    """The differentiable part: `max` along an axis returns indices too."""
    return value[0] if isinstance(value, tuple) else value


__all__ = ["BY_NAME", "CASES", "OPS", "Op", "first", "minidl", "plain"]
