"""What a sweep leaves: the best config, a table of the trials, and plots of what mattered.

::

    best.yaml        the best trial's config, for `minidl train`
    trials.csv       every trial: state, value, parameters, seconds, directory, reason
    sweep.json       how the sweep stands
    plots/           history.png, slice.png, importance.png, values.png
"""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.sweep.plan import Plan
from minidl.sweep.study import SweepStudy
from minidl.train.checkpoint import write_atomically
from minidl.train.reporter import figure
from minidl.train.reports.plots import plots_available

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STATES = {"COMPLETE": "COMPLETE", "PRUNED": "PRUNED", "FAIL": "FAILED", "RUNNING": "RUNNING"}


def write_results(plan: Plan, study: SweepStudy, say: Callable[[str], None]) -> dict[str, Any]:
    """Write all files that can be written of what there is; return the facts for the closing."""
    plan.directory.mkdir(parents=True, exist_ok=True)
    trials = study.trials()
    facts: dict[str, Any] = {"study": plan.study, "outcome": _outcome(plan, trials)}
    table = plan.directory / "trials.csv"
    write_atomically(table, _csv(plan, trials).encode())
    facts["trials"] = str(table)
    if best := study.best():
        number, value = best
        (trial,) = (trial for trial in trials if trial.number == number)
        header = (
            f"# The best of sweep {plan.study}: trial {number} of {len(trials)}, "
            f"{plan.metric} {value:.6g}\n"
        )
        path = plan.directory / "best.yaml"
        write_atomically(path, (header + plan.variant(trial.params).to_yaml()).encode())
        facts |= {
            "best": {"number": number, "value": value, "parameters": dict(trial.params)},
            "best_trial": f"{number}: {plan.metric} {figure(plan.metric, value)} with "
            + plan.words(trial.params),
            "best_config": str(path),
        }
        if _draw(plan, study, say):
            facts["plots"] = str(plan.directory / "plots")
    write_atomically(plan.directory / "sweep.json", json.dumps(facts, indent=1).encode() + b"\n")
    return facts


def rows(plan: Plan, trials: Sequence[FrozenTrial]) -> list[dict[str, str]]:
    """Return a table's rows of text, the best trial first, those without a value last."""
    sign = -1 if plan.maximize else 1
    order = sorted(
        trials,
        key=lambda t: (
            t.state.name != "COMPLETE",
            t.value is None,
            sign * (t.value or 0.0),
            t.number,
        ),
    )
    return [
        {
            "trial": str(trial.number),
            "state": STATES[trial.state.name],
            plan.metric: "" if trial.value is None else figure(plan.metric, trial.value),
            **{d.path: _cell(trial.params.get(d.path, "")) for d in plan.dimensions},
        }
        for trial in order
    ]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _outcome(plan: Plan, trials: Sequence[FrozenTrial]) -> str:
    counts = {
        shown: sum(trial.state.name == state for trial in trials) for state, shown in STATES.items()
    }
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{said or 'nothing yet'} of {plan.trials}"


def _csv(plan: Plan, trials: Sequence[FrozenTrial]) -> str:
    text = io.StringIO()
    paths = [dimension.path for dimension in plan.dimensions]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "state", plan.metric, *paths, "seconds", "directory", "reason"])
    for trial in trials:
        seconds = trial.duration.total_seconds() if trial.duration else None
        writer.writerow(
            [
                trial.number,
                STATES[trial.state.name],
                trial.value,
                *(trial.params.get(path) for path in paths),
                None if seconds is None else round(seconds, 3),
                trial.user_attrs.get("directory"),
                trial.user_attrs.get("reason"),
            ]
        )
    return text.getvalue()


# ---- plots ---------------------------------------------------------------------------------------


def _draw(plan: Plan, study: SweepStudy, say: Callable[[str], None]) -> list[Path]:
    """Draw with Optuna's matplotlib back end; what cannot be drawn is told, and left out."""
    if not plots_available():
        say("no plots: matplotlib is wanted (pip install 'minidl[sweep]')")
        return []
    import matplotlib.pyplot as plt
    from optuna.exceptions import ExperimentalWarning
    from optuna.visualization import matplotlib as draw

    folder = plan.directory / "plots"
    folder.mkdir(exist_ok=True)
    drawn = []
    wanted: dict[str, Callable[[], Any]] = {
        "history": lambda: draw.plot_optimization_history(study.study, target_name=plan.metric),
        "slice": lambda: draw.plot_slice(study.study, target_name=plan.metric),
        "importance": lambda: draw.plot_param_importances(
            study.study, evaluator=_evaluator(say), target_name=plan.metric
        ),
        "values": lambda: draw.plot_intermediate_values(study.study),
    }
    before = plt.get_backend()
    plt.switch_backend("agg")
    try:
        for name, make in wanted.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                warnings.simplefilter("ignore", UserWarning)
                try:
                    made = make()
                except (ValueError, RuntimeError, ImportError) as error:
                    say(f"no plot of {name}: {str(error).splitlines()[0]}")
                    continue
                axes = made if hasattr(made, "figure") else made.flat[0]
                _make_room(made)
                # Not a tight layout, which would move a colour bar into its neighbour.
                axes.figure.savefig(folder / f"{name}.png", dpi=100, bbox_inches="tight")
                drawn.append(folder / f"{name}.png")
            plt.close("all")
    finally:
        plt.switch_backend(before)
    return drawn


def _make_room(made: Any) -> None:
    """Keep the marks of Optuna's slices apart, however many there are."""
    if hasattr(made, "figure"):
        return
    from matplotlib.ticker import NullFormatter

    for axes in made.flat:
        if axes.get_xscale() == "log":
            axes.xaxis.set_minor_formatter(NullFormatter())
    axes.figure.set_size_inches(3.4 * len(made.flat), 4.8)


def _evaluator(say: Callable[[str], None]) -> Any:
    """Return what judges importance: functional ANOVA (Hutter et al., 2014) where it can be had."""
    from importlib.util import find_spec

    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    if find_spec("sklearn") is None:
        say("importance by PED-ANOVA, which wants more trials: fANOVA needs scikit-learn")
        return PedAnovaImportanceEvaluator()
    return FanovaImportanceEvaluator(seed=0)
