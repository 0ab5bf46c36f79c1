"""Two pictures of a run: how loss and accuracy went, and which classes were taken for which.

matplotlib is optional (the extra ``plot``) and imported inside the functions. Figures are made
by its object-oriented interface, without pyplot, which would keep them and a chosen screen
backend for the whole process.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl.train.journal import Entry
from minidl.train.metrics.direction import higher_is_better

_TRAIN, _VAL, _TEST, _MUTED = "#4878a8", "#c8501e", "#2e7d32", "#666666"
_DPI = 110
_MOST_CELLS_WITH_TEXT = 25  # classes; with more, the numbers would not be readable


def plots_available() -> bool:
    """Whether matplotlib is installed (it is not imported)."""
    return importlib.util.find_spec("matplotlib") is not None


def plot_curves(
    entries: Sequence[Entry], path: str | os.PathLike[str], *, monitor: str = "val/accuracy"
) -> None:
    """Draw loss (left) and accuracy (right) over the steps, and save the PNG at ``path``.

    Accuracy is left out where the journal has none.

    Training values are a faint line, one point a journal entry, with their running mean;
    validation values are marked epoch by epoch, test values as a dashed line. The best epoch by
    ``monitor`` (smallest or largest, as the metric has it) is marked in both.
    """
    from matplotlib.figure import Figure

    # A task without classes has no accuracy; an empty journal is told so in both.
    losses_only = any(entry.metrics for entry in entries) and not any(
        name.endswith("accuracy") for entry in entries for name in entry.metrics
    )
    names = ["loss"] if losses_only else ["loss", "accuracy"]
    figure = Figure(figsize=(5 * len(names), 4), dpi=_DPI, layout=_layout())
    best = _best(entries, monitor)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw_curve(axes, entries, name, best)
    figure.savefig(os.fspath(path), format="png")


def plot_confusion(
    matrix: npt.ArrayLike, classes: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Draw a confusion matrix and save the PNG at ``path``.

    Shapes: ``matrix (K, K)`` counts, ``matrix[i, j]`` being images of class ``i`` taken for
    ``j``; ``classes`` has ``K`` names. Colour is the share of the row's class, so that a rare
    class is as visible as a common one; cells hold counts, and the right-hand column the
    percentage of each class that was recognized.

    Raises
    ------
    ValueError
        ``matrix`` is not ``(K, K)``.
    """
    from matplotlib.figure import Figure

    counts = np.asarray(matrix)
    number = len(classes)
    if counts.shape != (number, number):
        raise ValueError(
            f"plot_confusion: {number} classes need a matrix of shape ({number}, {number}), "
            f"got {counts.shape}"
        )
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    labelled = number <= _MOST_CELLS_WITH_TEXT
    side = min(max(4.2, 2.0 + 0.5 * number), 14.0) if labelled else 9.0
    figure = Figure(figsize=(side + 0.6, side), dpi=_DPI, layout=_layout())
    axes = figure.subplots()
    # The square root lifts the few per cent of confusions off the white.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    _label_classes(axes, classes, labelled)
    if labelled:
        _write_cells(axes, counts, shares)
    accuracy = np.trace(counts) / max(int(totals.sum()), 1)
    axes.set_title(f"{np.trace(counts):,} of {totals.sum():,} right ({_percent(accuracy)})")
    figure.savefig(os.fspath(path), format="png")


def plot_schedule(
    rates: Sequence[float], path: str | os.PathLike[str], *, steps_per_epoch: int
) -> None:
    """Draw a learning rate over steps and epochs, and save the PNG at ``path``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), dpi=_DPI, layout=_layout())
    axes: Any = figure.subplots()
    axes.plot(range(len(rates)), rates, color=_TRAIN, linewidth=1.5)
    axes.set_title("learning rate")
    axes.set_xlabel("step")
    axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    top = axes.secondary_xaxis(
        "top", functions=(lambda s: s / steps_per_epoch, lambda e: e * steps_per_epoch)
    )
    top.set_xlabel("epoch")
    figure.savefig(os.fspath(path), format="png")


def _layout() -> Any:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)  # inches, around everything


def _draw_curve(axes: Any, entries: Sequence[Entry], name: str, best: Entry | None) -> None:
    steps, values = _series(entries, f"train/{name}")
    if len(steps):
        axes.plot(steps, values, color=_TRAIN, alpha=0.3, linewidth=1)
        axes.plot(steps, _running_mean(values), color=_TRAIN, linewidth=1.5, label="train")
    steps, values = _series(entries, f"val/{name}")
    if len(steps):
        axes.plot(
            steps, values, color=_VAL, marker="o", markersize=4, linewidth=1.2, label="validation"
        )
    _, tests = _series(entries, f"test/{name}")
    if len(tests):
        label = f"test: {_shown(tests[-1], name)}"
        axes.axhline(tests[-1], color=_TEST, linestyle="--", linewidth=1.2, label=label)
    if best is not None:
        label = f"best: epoch {best.epoch}"
        if np.isfinite(best.metrics.get(f"val/{name}", np.nan)):
            value = best.metrics[f"val/{name}"]
            label += f", {_shown(value, name)}"
            ring = {"marker": "o", "markersize": 11, "markerfacecolor": "none"}
            axes.plot([best.step], [value], color=_VAL, linestyle="none", label=label, **ring)
        axes.axvline(best.step, color=_MUTED, linestyle=":", linewidth=1, zorder=0)
    _finish_curve(axes, name)


def _finish_curve(axes: Any, name: str) -> None:
    axes.set_title(name)
    axes.set_xlabel("step")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    if name == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    if not axes.lines:
        axes.text(
            0.5,
            0.5,
            f"no {name} in the journal",
            color=_MUTED,
            ha="center",
            transform=axes.transAxes,
        )
        return
    # Where the curves leave room: losses fall, accuracies rise.
    axes.legend(
        loc="upper right" if name == "loss" else "lower right", frameon=True, framealpha=0.9
    )


def _label_classes(axes: Any, classes: Sequence[str], labelled: bool) -> None:
    every = 1 if labelled else -(-len(classes) // 20)
    ticks = range(0, len(classes), every)
    names = [str(classes[index])[:16] for index in ticks]
    long = max(map(len, names), default=0) > 3
    axes.set_xticks(ticks, names, rotation=60 if long else 0, ha="right" if long else "center")
    axes.set_yticks(ticks, names)
    if long:
        for tick in axes.get_xticklabels():
            tick.set_rotation_mode("anchor")
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_cells(
    axes: Any, counts: npt.NDArray[Any], shares: npt.NDArray[np.floating[Any]]
) -> None:
    widest = len(f"{counts.max(initial=0):,}")
    size = 9 if widest <= 5 else 7
    for i, j in zip(*np.nonzero(counts), strict=True):
        colour = "white" if np.sqrt(shares[i, j]) > 0.55 else "black"
        axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=colour, fontsize=size)
    # To the right of the cells: x in parts of the axes' width, y in rows.
    beside = {"transform": axes.get_yaxis_transform(), "color": _MUTED, "fontsize": 9}
    axes.text(1.02, -0.5, "recognized", va="bottom", **beside)
    for i in np.flatnonzero(counts.sum(axis=1)):
        axes.text(1.02, i, _percent(shares[i, i]), va="center", **beside)


def _series(
    entries: Sequence[Entry], name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return steps and finite values of one metric."""
    pairs = [(entry.step, entry.metrics[name]) for entry in entries if name in entry.metrics]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    table = table[np.isfinite(table[:, 1])]
    return table[:, 0], table[:, 1]


def _running_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average each value with its neighbours, a twentieth of the curve in all."""
    half = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    middle = np.arange(len(values))
    first, last = np.maximum(middle - half, 0), np.minimum(middle + half + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _best(entries: Sequence[Entry], monitor: str) -> Entry | None:
    candidates = [entry for entry in entries if np.isfinite(entry.metrics.get(monitor, np.nan))]
    sign = 1.0 if higher_is_better(monitor) else -1.0
    return max(candidates, key=lambda entry: sign * entry.metrics[monitor], default=None)


def _shown(value: float, name: str) -> str:
    return _percent(value) if name == "accuracy" else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
