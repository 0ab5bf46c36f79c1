"""The picture of a learning-rate sweep: the loss over the rate, and what to take from it.

matplotlib is optional (the extra ``plot``) and imported inside the function.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minidl.train.lr_finder import LRFinding

_RAW, _SMOOTH, _STEEPEST, _TENTH = "#9ab4cf", "#4878a8", "#c8501e", "#2e7d32"


def plot_finding(finding: LRFinding, path: str | os.PathLike[str]) -> None:
    """Draw a sweep's losses over its rates, with the suggestions, and save the PNG at ``path``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes: Any = figure.subplots()
    axes.plot(finding.rates, finding.losses, color=_RAW, linewidth=1, label="loss of each batch")
    axes.plot(finding.rates, finding.smoothed, color=_SMOOTH, linewidth=2, label="smoothed")
    if finding.suggestion is not None and finding.tenth_of_minimum is not None:
        lowest = finding.rates[finding.minimum]
        axes.axvline(finding.suggestion, color=_STEEPEST, linestyle="--", linewidth=1.2)
        axes.plot(
            [finding.suggestion],
            [finding.smoothed[finding.steepest]],
            color=_STEEPEST,
            marker="o",
            markersize=8,
            linestyle="--",
            label=f"steepest fall: {finding.suggestion:.2g}",
        )
        axes.axvline(finding.tenth_of_minimum, color=_TENTH, linestyle=":", linewidth=1.2)
        axes.plot(
            [lowest],
            [finding.smoothed[finding.minimum]],
            color=_TENTH,
            marker="v",
            markersize=8,
            linestyle=":",
            label=f"lowest: {lowest:.2g}, a tenth of it: {finding.tenth_of_minimum:.2g}",
        )
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    # What diverges would press everything else flat.
    until = finding.minimum + 1
    low = min(np.min(finding.losses[:until]), np.min(finding.smoothed))
    high = max(np.max(finding.losses[:until]), np.max(finding.smoothed[:until]))
    room = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(low - room, high + 3 * room)
    axes.set_title("learning-rate sweep" + (", until it diverged" if finding.diverged else ""))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", framealpha=0.9)
    figure.savefig(os.fspath(path), format="png")
