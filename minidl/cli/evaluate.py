"""``minidl eval RUN [key=value …]``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as one JSON object.")
    ] = False,
) -> None:
    """Evaluate the best model of a run, by its own metrics and those of metrics=[{type: F1}]."""
    with failures():
        from minidl.train.evaluation import evaluate_run
        from minidl.train.metrics import class_table
        from minidl.train.reporter import figure, reporter_for
        from minidl.train.strict_json import strict_json

        found, experiment = evaluate_run(run, overrides or [], part=part.value)
        data = experiment.data
        loader = data.test if part is Part.test else data.val
        count = len(loader.dataset) if loader is not None else 0
        table = [] if found.confusion is None else class_table(found.confusion)
        if as_json:
            report: dict[str, Any] = {"run": run, "part": part.value, "samples": count}
            report["metrics"] = found.metrics
            if found.confusion is not None:
                report["classes"] = [
                    {"name": name, **row} for name, row in zip(data.classes, table, strict=True)
                ]
                report["confusion"] = found.confusion.tolist()
            print(strict_json(report))
            return
        rows = {name: figure(name, value) for name, value in found.metrics.items()}
        rows |= {
            f"class {name}": f"precision {row['precision']:.4f}  recall {row['recall']:.4f}  "
            f"F1 {row['f1']:.4f}  of {row['support']:,} samples"
            for name, row in zip(data.classes, table, strict=bool(table))
        }
        reporter_for().table(f"{run}: {count:,} {part.value} samples", rows)
