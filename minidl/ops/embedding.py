"""Looking rows up by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Primitive, constant, plain, primitive
from minidl.ops.arithmetic import eq, logical_and, logical_not, ne, where
from minidl.ops.einsum import einsum
from minidl.ops.elementwise import stop_gradient
from minidl.ops.indexing import getitem
from minidl.ops.reduce import max as largest
from minidl.ops.reduce import sum
from minidl.ops.shape import cast, reshape, shape_of, unsqueeze
from minidl.ops.truth import any

__all__ = [
    "bilinear",
    "embedding",
    "embedding_bag",
    "one_hot",
]


def one_hot(labels: Any, num_classes: int = -1) -> Any:
    """Return 1 at each label's place and 0 elsewhere: ``(*) -> (*, num_classes)``, as int64.

    ``num_classes=-1`` counts up to the largest label.

    Raises
    ------
    TypeError
        The labels are not integers.
    IndexError
        A label is negative or not below ``num_classes``.
    ValueError
        There are no labels to tell the number of classes.
    """
    if not hasattr(labels, "dtype"):
        labels = np.asarray(labels)
    known = constant(labels)  # under vmap: those of all examples
    if known.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels must be integers, got {known.dtype}")
    if num_classes == -1 and not known.size:
        raise ValueError("one_hot: num_classes is wanted where there are no labels to tell it")
    classes = int(known.max()) + 1 if num_classes == -1 else num_classes
    if known.size and (known.min() < 0 or known.max() >= classes):
        raise IndexError(
            f"one_hot: labels {known.min()} to {known.max()} do not fit {classes} classes"
        )
    return cast(eq(unsqueeze(labels, -1), np.arange(classes)), np.int64)


def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, *, scale_grad_by_freq: bool = False
) -> Any:
    """Return the rows of ``weight (rows, width)`` at ``input``: ``(*) -> (*, width)``.

    Parameters
    ----------
    padding_idx
        The row that gets no gradient.
    scale_grad_by_freq
        Divide each row's gradient by how often it is looked up.

    Raises
    ------
    TypeError
        The indices are not integers.
    IndexError
        An index is out of range.
    """
    _require_integers("embedding", input)
    rows = shape_of(weight)[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise IndexError(f"embedding: padding_idx {padding_idx} is not one of {rows} rows")
        fixed = np.arange(rows)[:, None] == padding_idx % rows
        weight = where(fixed, stop_gradient(weight), weight)
    known = constant(input)  # under vmap: those of all examples
    if known.size and (known.min() < 0 or known.max() >= rows):
        raise IndexError(
            f"embedding: indices {known.min()} to {known.max()} do not fit {rows} rows, 0 to "
            f"{rows - 1}; "
            + (
                f"make the table {known.max() + 1} rows long (num_embeddings)"
                if known.min() >= 0
                else "give what has no row (padding) one of its own"
            )
        )
    found = getitem(weight, input)
    return _by_frequency(found, input, input, rows) if scale_grad_by_freq else found


def _by_frequency(found: Any, named: Any, input: Any, rows: int) -> Any:
    """Divide the gradient of each row in ``found`` by how often ``input`` names it."""
    share = _shares(input, named, rows=rows, dtype=found.dtype)
    scaled = found * share[..., None]
    return stop_gradient(found) + (scaled - stop_gradient(scaled))


def _shares_of_rows(input: Array, named: Array, *, rows: int, dtype: Any) -> Array:
    counts = np.maximum(np.bincount(input.reshape(-1), minlength=rows), 1)
    return (1.0 / counts).astype(dtype)[named]


# For each of the rows in ``named``, 1 over how often ``input`` names it.
_shares: Primitive = primitive("shares_of_rows", _shares_of_rows)


def _require_integers(name: str, input: Any) -> None:
    if input.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must be integers, got {input.dtype}")


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    *,
    mode: str = "mean",
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
) -> Any:
    """Return sums, means or maxima of rows of ``weight``, one for each bag of indices.

    Shapes: ``input (B, L)``, or ``(total,)`` with ``offsets (B,)`` where each bag begins ->
    ``(B, width)``. An empty bag gives zeros. ``scale_grad_by_freq`` divides each row's gradient by
    how often it is looked up.

    Raises
    ------
    ValueError
        ``mode`` is none of "sum", "mean" and "max", the shapes do not fit, weights are given for
        another mode than "sum", or gradients are to be scaled with "max".
    """
    _require_integers("embedding_bag", input)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if per_sample_weights is not None and mode != "sum":
        raise ValueError(f"embedding_bag: per_sample_weights want mode 'sum', got {mode!r}")
    if scale_grad_by_freq and mode == "max":
        raise ValueError("embedding_bag: scale_grad_by_freq wants mode 'sum' or 'mean', got 'max'")
    shape = shape_of(input)
    if (len(shape) == 1) != (offsets is not None) or len(shape) > 2:
        raise ValueError(f"embedding_bag: (B, L), or a vector with offsets, got {shape}")
    if offsets is None:
        bounds = np.arange(shape[0] + 1) * shape[1]
    else:
        known = plain(offsets, "embedding_bag() of offsets")
        bounds = known if include_last_offset else np.append(known, shape[0])
    bags = len(bounds) - 1
    sizes = np.diff(bounds)
    # Every bag as a row of places, those beyond its end not counted.
    places = bounds[:-1, None] + np.arange(max(int(sizes.max(initial=0)), 1))
    inside = places < bounds[1:, None]
    held = np.minimum(places, max(int(np.prod(shape)) - 1, 0))
    chosen = reshape(input, (-1,))[held]
    if padding_idx is not None:
        inside = logical_and(inside, ne(chosen, padding_idx % shape_of(weight)[0]))
    rows = embedding(chosen, weight)
    if scale_grad_by_freq:
        rows = _by_frequency(rows, chosen, input, shape_of(weight)[0])
    keep = unsqueeze(inside, -1)
    if mode == "max":
        empty = logical_not(any(inside, 1, True))
        top = largest(where(keep, rows, -np.inf), 1).values
        return where(empty, 0.0, where(empty, 0.0, top))
    if per_sample_weights is not None:
        rows = rows * unsqueeze(reshape(per_sample_weights, (-1,))[held], -1)
    total = sum(where(keep, rows, 0.0), 1)
    if mode == "sum" or not bags:
        return total
    counts = sum(cast(inside, total.dtype), 1, True)
    return total / where(counts > 0, counts, 1.0)


def bilinear(x1: Any, x2: Any, weight: Any, bias: Any = None) -> Any:
    """Return ``x1ᵀ W x2 + b`` for each output.

    Shapes: ``x1 (*, I)``, ``x2 (*, J)``, ``weight (O, I, J)``, ``bias (O,)`` -> ``(*, O)``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    wanted = shape_of(weight)
    if len(wanted) != 3 or (shape_of(x1)[-1], shape_of(x2)[-1]) != wanted[1:]:
        raise ValueError(
            f"bilinear: inputs {shape_of(x1)} and {shape_of(x2)} do not fit weight {wanted}"
        )
    out = einsum("...i,oij,...j->...o", x1, weight, x2)
    return out if bias is None else out + bias
