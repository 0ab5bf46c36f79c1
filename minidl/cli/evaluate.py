"""``minidl eval RUN [key=value …]``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import failures
from minidl.cli.train import Overrides


class Part(StrEnum):
    """The samples to evaluate on."""

    test = "test"
    val = "val"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    overrides: Overrides = None,
    part: Annotated[Part, typer.Option(help="The samples to evaluate on.")] = Part.test,
) -> None:
    """Evaluate the best model of a run."""
    with failures():
        from minidl.train.evaluation import evaluate_run, recall_by_class
        from minidl.train.reporter import figure, reporter_for

        found, experiment = evaluate_run(run, overrides or [], part=part.value)
        rows = {name: figure(name, value) for name, value in found.metrics.items()}
        if found.confusion is not None:
            shares = recall_by_class(found.confusion)
            rows |= {
                f"class {name}": f"{100 * share:.2f} % of {total:,} recognized"
                for name, share, total in zip(
                    experiment.data.classes, shares, found.confusion.sum(axis=1), strict=True
                )
            }
        data = experiment.data
        loader = data.test if part is Part.test else data.val
        count = len(loader.dataset) if loader is not None else 0
        reporter_for().table(f"{run}: {count:,} {part.value} samples", rows)
