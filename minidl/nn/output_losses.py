"""Losses with the last layer in them: logits of all classes need not be there at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Fraction, Positive, Size, checked
from minidl.autograd.primitive import plain
from minidl.nn import expect, functional
from minidl.nn.containers import ModuleList, Sequential
from minidl.nn.linear import Linear
from minidl.nn.losses import Loss, Weights, as_buffer
from minidl.nn.module import Module
from minidl.ops.joining import cat
from minidl.ops.loss import Reduction
from minidl.ops.reduce import mean
from minidl.ops.shape import shape_of


class ASMoutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` returns."""

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of frequent classes directly, of rarer ones by clusters of them.

    Classes are to be numbered by frequency. Classes below ``cutoffs[0]`` stand in the head, beside
    one entry for each cluster; the i-th cluster's layers are ``div_value ** i`` times narrower.

    Shapes: ``x (N, in_features)`` or ``(in_features,)``, target ``(N,)`` or ``()`` -> output (the
    log-probability of each target) ``(N,)`` or ``()``, loss a single number.

    Raises
    ------
    ValueError
        The cutoffs do not rise from 1 to below ``n_classes``.

    References
    ----------
    E. Grave et al., "Efficient softmax approximation for GPUs", ICML 2017.
    """

    infer: ClassVar = {"in_features": -1}
    infer_from_state: ClassVar = {"in_features": ("head.weight", 1)}

    @checked
    def __init__(
        self,
        in_features: Size,
        n_classes: Size,
        cutoffs: Sequence[Size],
        div_value: Positive = 4.0,
        head_bias: bool = False,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        ends = list(cutoffs)
        if not ends or sorted(set(ends)) != ends or ends[-1] >= n_classes:
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs must rise and stay below the "
                f"{n_classes} classes, got {ends}"
            )
        self.in_features, self.n_classes, self.div_value = in_features, n_classes, div_value
        self.cutoffs = [*ends, n_classes]
        how: dict[str, Any] = {"dtype": dtype, "rng": rng}
        clusters = len(self.cutoffs) - 1
        self.head = Linear(in_features, ends[0] + clusters, head_bias, **how)
        tails = []
        for i in range(clusters):
            width = max(1, int(in_features // div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            first = Linear(in_features, width, False, **how)
            tails.append(Sequential(first, Linear(width, size, False, **how)))
        self.tail = ModuleList(tails)

    def forward(self, x: Any, target: Any) -> ASMoutput:
        """Return the targets' log-probabilities, and the mean of their negatives.

        Raises
        ------
        ValueError
            Shapes do not fit, or the batch is empty.
        IndexError
            A target is not a class.
        """
        labels = plain(target, "AdaptiveLogSoftmaxWithLoss()")
        single = len(shape_of(x)) == 1
        rows, labels = (x.reshape(1, -1), labels.reshape(1)) if single else (x, labels)
        if len(shape_of(rows)) != 2 or shape_of(rows)[:1] != labels.shape or not len(labels):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: inputs (N, in_features) and as many targets (N,) are "
                f"wanted, got {shape_of(x)} and {shape_of(target)}"
            )
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise IndexError(
                f"AdaptiveLogSoftmaxWithLoss: targets {labels.min()} to {labels.max()} are not "
                f"among the {self.n_classes} classes"
            )
        expect.same_dtype("AdaptiveLogSoftmaxWithLoss", rows, self.head.weight)
        head = functional.log_softmax(self.head(rows), 1)
        cluster = np.searchsorted(self.cutoffs, labels, side="right")
        places, parts = [], []
        for number in np.unique(cluster):
            mine = np.flatnonzero(cluster == number)
            places.append(mine)
            parts.append(self._chosen(head, rows, labels, mine, int(number)))
        output = cat(parts)[np.argsort(np.concatenate(places))]
        return ASMoutput(output[0] if single else output, -mean(output))

    def _chosen(self, head: Any, rows: Any, labels: Any, mine: Any, number: int) -> Any:
        """Log-probabilities of the targets in one cluster (0: the head)."""
        if number == 0:
            return head[mine, labels[mine]]
        inside = functional.log_softmax(self.tail[number - 1](rows[mine]), 1)
        own = labels[mine] - self.cutoffs[number - 1]
        return head[mine, self.cutoffs[0] + number - 1] + inside[np.arange(len(mine)), own]

    def log_prob(self, x: Any) -> Any:
        """Return the log-probability of every class, ``(N, n_classes)``."""
        head = functional.log_softmax(self.head(x), 1)
        first = self.cutoffs[0]
        parts = [head[:, :first]]
        for i, tail in enumerate(self.tail):
            inside = functional.log_softmax(tail(x), 1)
            parts.append(inside + head[:, first + i : first + i + 1])
        return cat(parts, 1)

    def predict(self, x: Any) -> Any:
        """Return the most probable class of each row."""
        return self.log_prob(x).argmax(1)

    def extra_repr(self) -> str:
        """Return sizes and cutoffs."""
        return f"{self.in_features}, {self.n_classes}, cutoffs={self.cutoffs[:-1]}"


class LinearCrossEntropyLoss(Loss):
    """A linear layer and the cross-entropy of its logits.

    Shapes: ``x (N, in_features)``, target ``(N,)``; with ``out_features`` the layer gives logits
    ``(N, num_classes, *out_features)``, and the target is ``(N, *out_features)``.
    """

    @checked
    def __init__(
        self,
        in_features: Size,
        num_classes: Size,
        *,
        out_features: tuple[Size, ...] = (),
        bias: bool = False,
        weight: Weights | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: Fraction = 0.0,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.num_classes, self.out_features = num_classes, tuple(out_features)
        self.weight = as_buffer(weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.reduce_by(reduction)
        width = int(np.prod([num_classes, *self.out_features]))
        self.linear = Linear(in_features, width, bias, dtype=dtype, rng=rng)

    def forward(self, *inputs: Any) -> Any:
        """Return the loss of ``x`` and the target."""
        x, target = inputs
        logits = self.linear(x)
        if self.out_features:
            logits = logits.reshape(-1, self.num_classes, *self.out_features)
        return functional.cross_entropy(
            logits,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,  # type: ignore[arg-type]
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.linear.weight.shape[1]}, {self.num_classes}, reduction={self.reduction!r}"
