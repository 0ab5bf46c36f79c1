"""Losses of margins: pairs, triplets, and the classes of one sample held apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.ops.activation import logsigmoid
from minidl.ops.arithmetic import eq, logical_and, logical_not, lt, minimum, ne, where
from minidl.ops.distance import pairwise_distance
from minidl.ops.elementwise import relu, sqrt, square
from minidl.ops.loss import Reduction, like, reduced, same_shape
from minidl.ops.reduce import mean, sum
from minidl.ops.scatter import gather
from minidl.ops.shape import reshape, shape_of, unsqueeze
from minidl.ops.truth import any

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "hinge_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "siamese_contrastive_loss",
    "squared_hinge_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def hinge_embedding_loss(
    x: Any, target: Any, *, margin: float = 1.0, reduction: Reduction = "mean"
) -> Any:
    """Return ``x`` where the target is 1, ``max(0, margin - x)`` where it is -1.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("hinge_embedding_loss", x, target)
    apart = where(ne(target, 1), relu(margin - x), 0.0)
    loss = apart + where(ne(target, -1), x, 0.0)
    return reduced("hinge_embedding_loss", loss, reduction)


def margin_ranking_loss(
    x1: Any, x2: Any, target: Any, *, margin: float = 0.0, reduction: Reduction = "mean"
) -> Any:
    """Return ``max(0, margin - target (x1 - x2))``: with target 1, x1 should be larger.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("margin_ranking_loss", x1, x2)
    loss = relu(margin - like(target, x1) * (x1 - x2))
    return reduced("margin_ranking_loss", loss, reduction)


def cosine_embedding_loss(
    x1: Any, x2: Any, target: Any, *, margin: float = 0.0, reduction: Reduction = "mean"
) -> Any:
    """Return 1 - cos where the target is 1, ``max(0, cos - margin)`` where it is -1.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("cosine_embedding_loss", x1, x2)
    tiny = 1e-12
    squares = (sum(x * x, -1) + tiny for x in (x1, x2))
    one, two = squares
    cosine = sum(x1 * x2, -1) / sqrt(one * two)
    loss = where(eq(target, 1), 1.0 - cosine, where(eq(target, -1), relu(cosine - margin), 0.0))
    return reduced("cosine_embedding_loss", loss, reduction)


def multi_margin_loss(
    x: Any,
    target: Any,
    *,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: Reduction = "mean",
) -> Any:
    """Return ``Σ max(0, margin - x[y] + x[j])ᵖ / C`` over the classes j that are not y.

    Shapes: ``x (N, C)`` or ``(C,)``, ``target (N,)`` or ``()``.

    Raises
    ------
    ValueError
        The shapes do not fit, ``p`` is not 1 or 2, or ``reduction`` is unknown.
    """
    single = len(shape_of(x)) == 1
    rows = unsqueeze(x, 0) if single else x
    labels = reshape(target, (-1, 1))
    if p not in (1, 2) or shape_of(labels)[0] != shape_of(rows)[0]:
        raise ValueError(
            f"multi_margin_loss: p 1 or 2 and a class for each row, got {p}, {shape_of(x)} and "
            f"{shape_of(target)}"
        )
    classes = shape_of(rows)[1]
    gaps = relu(margin - gather(rows, 1, labels) + rows)
    gaps = gaps if p == 1 else gaps * gaps
    if weight is not None:
        gaps = gaps * like(weight, x)[labels]
    others = ne(labels, np.arange(classes))
    loss = sum(where(others, gaps, 0.0), 1) / classes
    return reduced("multi_margin_loss", reshape(loss, ()) if single else loss, reduction)


def multilabel_margin_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return ``Σ max(0, 1 - x[y] + x[j]) / C`` over the classes y named and j that are not.

    Shapes: both ``(N, C)`` or ``(C,)``; ``target`` lists classes, up to the first -1.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("multilabel_margin_loss", x, target)
    single = len(shape_of(x)) == 1
    rows, labels = (unsqueeze(v, 0) if single else v for v in (x, target))
    classes = shape_of(rows)[1]
    # A label counts where no -1 stands at or before it.
    ended = np.triu(np.ones((classes, classes), bool))
    counts = logical_not(any(logical_and(unsqueeze(lt(labels, 0), -1), ended), 1))
    held = where(counts, labels, 0)
    named = logical_and(unsqueeze(counts, -1), eq(unsqueeze(held, -1), np.arange(classes)))
    member = any(named, 1)
    gaps = relu(1.0 - unsqueeze(gather(rows, 1, held), -1) + unsqueeze(rows, 1))
    pairs = logical_and(unsqueeze(counts, -1), unsqueeze(logical_not(member), 1))
    loss = sum(where(pairs, gaps, 0.0), (1, 2)) / classes
    return reduced("multilabel_margin_loss", reshape(loss, ()) if single else loss, reduction)


def multilabel_soft_margin_loss(
    x: Any, target: Any, *, weight: Any = None, reduction: Reduction = "mean"
) -> Any:
    """Return the binary cross-entropy of each class's logit, averaged over the classes.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("multilabel_soft_margin_loss", x, target)
    target = like(target, x)
    loss = -(target * logsigmoid(x) + (1.0 - target) * logsigmoid(-x))
    loss = mean(loss if weight is None else loss * like(weight, x), -1)
    return reduced("multilabel_soft_margin_loss", loss, reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Any:
    """Return ``max(0, d(anchor, positive) - d(anchor, negative) + margin)``, by p-norms.

    With ``swap`` the negative counts from the positive where that is nearer.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.

    References
    ----------
    V. Balntas et al., "Learning local feature descriptors with triplets", BMVC 2016.
    """
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda one, two: pairwise_distance(one, two, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Any:
    """Return `triplet_margin_loss` with a distance of your own.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    name = "triplet_margin_loss"
    same_shape(name, anchor, positive)
    same_shape(name, anchor, negative)
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced(name, relu(near - far + margin), reduction)


def hinge_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return max(0, 1 - target · x), with targets ±1.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("hinge_loss", x, target)
    return reduced("hinge_loss", relu(1.0 - x * like(target, x)), reduction)


def squared_hinge_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return max(0, 1 - target · x)², with targets ±1.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("squared_hinge_loss", x, target)
    return reduced("squared_hinge_loss", square(relu(1.0 - x * like(target, x))), reduction)


def siamese_contrastive_loss(
    distance: Any, target: Any, *, margin: float = 1.0, reduction: Reduction = "mean"
) -> Any:
    """Return ``(1 - t) d² + t max(0, margin - d)²``: pairs alike (t = 0) close, others apart.

    Raises
    ------
    ValueError
        The shapes differ, the margin is negative, or ``reduction`` is unknown.

    References
    ----------
    R. Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006.
    """
    same_shape("siamese_contrastive_loss", distance, target)
    if margin < 0:
        raise ValueError(f"siamese_contrastive_loss: margin must be at least 0, got {margin}")
    t = like(target, distance)
    loss = (1.0 - t) * square(distance) + t * square(relu(margin - distance))
    return reduced("siamese_contrastive_loss", loss, reduction)
