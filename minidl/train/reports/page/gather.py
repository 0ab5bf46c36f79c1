"""What a report tells: everything the template shows, gathered and put into words."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import minidl
from minidl.autograd.primitive import Array
from minidl.train.checkpoint import CheckpointError
from minidl.train.config import ConfigError
from minidl.train.metrics import class_table
from minidl.train.reports import comparison, overview
from minidl.train.reports.config_lines import config_lines
from minidl.train.reports.page import pictures
from minidl.train.reports.page.charts import Chart, Series, line_chart, reliability_chart
from minidl.train.reports.page.examine import Examination, examine
from minidl.train.reports.records import RunRecord
from minidl.train.tracking import mlflow_uri

_MOST_CELLS = 30  # classes; a table of more is no longer read
_LOOKS = {"train": "train", "val": "val", "test": "test"}

#: What the environment's tags are called in the page, in this order.
SYSTEM = {
    "cpus": "CPUs",
    "blas": "BLAS",
    "blas.threads": "BLAS threads",
    "kernels": "kernels",
    "platform": "platform",
    "python.version": "Python",
    "numpy.version": "NumPy",
    "minidl.version": "minidl",
    "git.commit": "git commit",
}


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix as the page has it.

    ``rows`` have, for each class, its cells: count, and share of the class from 0 to 1 (its square
    root, which lifts the few per cent off the ground). Empty where there are too many classes.
    """

    classes: Sequence[str]
    rows: list[list[tuple[int, float]]]
    pairs: list[tuple[str, str, int]]
    table: list[dict[str, float]]
    words: str


@dataclass(frozen=True)
class MistakePicture:
    """A mistake to look at; ``source`` is empty where samples are no pictures."""

    source: str
    index: int
    truth: str
    guess: str
    sure: str


@dataclass(frozen=True)
class Content:
    """All that the template shows, in its order."""

    title: str
    state: str
    headline: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    problems: Sequence[str]
    charts: list[Chart]
    metrics: list[tuple[str, str]]
    not_examined: str
    examined: str
    confusion: Confusion | None
    calibration: Chart | None
    calibration_error: str
    mistakes: list[MistakePicture]
    images: list[tuple[str, str]]
    compared: Sequence[str]
    differences: dict[str, list[str]]
    outcomes: dict[str, list[str]]
    config: dict[str, str]
    source_text: str
    resolved_text: str
    overrides_text: str
    system: list[tuple[str, str]]
    tracking: list[tuple[str, str]]
    commands: list[str]
    made: str

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The parts that the page has, for its table of contents: anchor and name."""
        found = [
            ("curves", "Curves", self.charts),
            ("test", "Test samples", True),
            ("pictures", "Pictures", self.images),
            ("comparison", "Comparison", self.compared),
            ("config", "Config", True),
            ("system", "System", True),
            ("again", "Do it again", self.commands),
        ]
        return [(anchor, name) for anchor, name, there in found if there]


def gather(
    run: RunRecord,
    *,
    others: Sequence[RunRecord] = (),
    overrides: Sequence[str] = (),
) -> Content:
    """Gather what there is to tell of a run; what is not there is left out, and said to be."""
    examination, reason = None, ""
    try:
        examination = examine(run.directory, overrides)
    except (CheckpointError, ConfigError) as error:
        reason = str(error)
    runs = [run, *others]
    names = distinct(runs)
    return Content(
        title=run.name,
        state=run.state,
        headline=_headline(run),
        facts=_facts(run, examination),
        problems=run.problems,
        charts=charts(runs, names),
        metrics=_metrics(run, examination),
        not_examined=reason,
        examined=_examined(examination, run),
        confusion=_confusion(examination),
        calibration=_calibration(examination),
        calibration_error=_calibration_error(examination),
        mistakes=_mistakes(examination),
        images=_images(run),
        compared=names if others else (),
        differences=comparison.config_differences(runs) if others else {},
        outcomes=comparison.outcomes(runs) if others else {},
        config=config_lines(run.config) if run.config else {},
        source_text=_text(run, "config.source.yaml"),
        resolved_text=_text(run, "config.yaml"),
        overrides_text=_text(run, "overrides.txt"),
        system=_system(run),
        tracking=_tracking(run),
        commands=_commands(run),
        made=f"minidl {minidl.__version__}, {time.strftime('%Y-%m-%d %H:%M')}",
    )


def distinct(runs: Sequence[RunRecord]) -> list[str]:
    """Return the runs' names; their paths where two have one name."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.directory) for run in runs]


def _headline(run: RunRecord) -> list[tuple[str, str]]:
    """Return the few figures that a reader looks for first."""
    tested = [name for name in ("test/accuracy", "test/loss") if name in run.metrics]
    found: list[tuple[str, str]] = []
    found += [(name, overview.shown(name, run.metrics[name])) for name in tested]
    if run.best:
        value = overview.shown(run.best.metric, run.best.value)
        found.append((f"best {run.best.metric}", value))
    if run.seconds is not None:
        found.append(("time", overview.duration(run.seconds)))
    if run.samples_per_s:
        found.append(("samples/s", f"{run.samples_per_s:,.0f}"))
    return found


def _facts(run: RunRecord, examination: Examination | None) -> list[tuple[str, str]]:
    found = [("directory", str(run.directory)), ("began", overview.moment(run.began))]
    if run.steps is not None:
        found.append(("trained", f"{run.steps:,} steps, {run.epochs} epochs"))
    if run.best:
        found.append(("best model", f"of epoch {run.best.epoch}, step {run.best.step:,}"))
    if examination is not None:
        found.append(("parameters", f"{examination.parameters:,}"))
    return [(name, text) for name, text in found if text]


def charts(runs: Sequence[RunRecord], names: Sequence[str]) -> list[Chart]:
    """Return the curves: metrics of one name in one drawing, of all runs on one scale."""
    groups: dict[str, list[str]] = {}
    for metric in comparison.curves(runs):
        part, _, name = metric.partition("/")
        groups.setdefault(name if part in _LOOKS else metric, []).append(metric)
    titles = {"lr": "learning rate", "throughput/samples_per_s": "samples/s"}
    end = max((run.steps or 1 for run in runs), default=1)
    made = []
    for name, metrics in groups.items():
        series = []
        for number, run in enumerate(runs):
            for metric in metrics:
                steps, values = run.series(metric)
                if steps:
                    label = metric if len(runs) == 1 else f"{metric}, {names[number]}"
                    role = _LOOKS.get(metric.partition("/")[0], "train")
                    dash = min(number, 3)
                    series.append(Series(label, metric, steps, values, role, dash))
        made.append(line_chart(titles.get(name, name), series, end=end))
    return made


def _metrics(run: RunRecord, examination: Examination | None) -> list[tuple[str, str]]:
    found = examination.metrics if examination else {}
    tested = {n: v for n, v in run.metrics.items() if n.startswith("test/")} | found
    return [(name, overview.shown(name, value)) for name, value in tested.items()]


def _examined(examination: Examination | None, run: RunRecord) -> str:
    if examination is None:
        return ""
    of = f" (epoch {run.best.epoch})" if run.best else ""
    return f"The best model{of} on {examination.samples:,} test samples of {examination.dataset}."


def _confusion(examination: Examination | None) -> Confusion | None:
    if examination is None or examination.confusion is None:
        return None
    counts, classes = examination.confusion, examination.classes
    right, total = int(np.trace(counts)), int(counts.sum())
    pairs = _pairs(counts, classes)
    words = f"{right:,} of {total:,} test samples are on the diagonal"
    if pairs:
        words += f"; most often, {pairs[0][0]} is taken for {pairs[0][1]} ({pairs[0][2]:,} times)"
    rows: list[list[tuple[int, float]]] = []
    if len(classes) <= _MOST_CELLS:
        shares = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
        rows = [
            [(int(n), round(float(s), 3)) for n, s in zip(*row, strict=True)]
            for row in zip(counts, shares, strict=True)
        ]
    return Confusion(classes, rows, pairs, class_table(counts), words)


def _pairs(counts: Array, classes: Sequence[str], most: int = 8) -> list[tuple[str, str, int]]:
    """Return what is most often taken for what: true class, guessed class, how often."""
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(counts)) for place in order]
    return [(classes[i], classes[j], int(wrong[i, j])) for i, j in places if wrong[i, j]]


def _calibration(examination: Examination | None) -> Chart | None:
    if examination is None or examination.reliability is None:
        return None
    return reliability_chart(examination.reliability)


def _calibration_error(examination: Examination | None) -> str:
    if examination is None or examination.reliability is None:
        return ""
    return f"{100 * examination.reliability.error:.2f} %"


def _mistakes(examination: Examination | None) -> list[MistakePicture]:
    if examination is None:
        return []
    seen = pictures.is_picture(examination.sample_shape)
    classes = examination.classes
    return [
        MistakePicture(
            pictures.picture(sample) if seen else "",
            mistake.index,
            classes[mistake.truth],
            classes[mistake.guess],
            f"{100 * mistake.probability:.1f} %",
        )
        for mistake, sample in zip(examination.mistakes, examination.pictures, strict=True)
    ]


def _images(run: RunRecord) -> list[tuple[str, str]]:
    """Return what the task has drawn itself, reconstructions say; the page has its own curves."""
    own = {"curves.png", "confusion.png"}
    found = sorted((run.directory / "plots").glob("*.png"))
    return [(path.stem, pictures.picture_file(path)) for path in found if path.name not in own]


def _text(run: RunRecord, name: str) -> str:
    """Return the text of a file of the run, without the password of a tracking server."""
    path = run.directory / name
    try:
        return mlflow_uri.redacted(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""


def _system(run: RunRecord) -> list[tuple[str, str]]:
    known = run.environment
    found = [(word, known[tag]) for tag, word in SYSTEM.items() if tag in known]
    return found + [(t, v) for t, v in known.items() if t not in SYSTEM and "version" in t]


def _tracking(run: RunRecord) -> list[tuple[str, str]]:
    """Return what leads to the run in MLflow; an address of a server can be followed."""
    tracked = run.tracking
    run_id = tracked.get("run_id") or run.summary.get("mlflow_run_id")
    uri = run.flat.get("tracking.uri")
    if not (isinstance(run_id, str) and uri):
        return []
    experiment = tracked.get("experiment_id")
    opened = mlflow_uri.open_command(
        uri, experiment if isinstance(experiment, str) else None, run_id
    )
    return [("run", run_id), ("open", opened)]


def _commands(run: RunRecord) -> list[str]:
    """Return what makes the run again."""
    if not run.config:
        return []
    known, lines = run.environment, []
    commit, _, changed = known.get("git.commit", "").partition("+")
    if commit:
        note = "    # its files had changes that were not committed" if changed else ""
        lines.append(f"git checkout {shlex.quote(commit)}{note}")
    settings = []
    threads = known.get("blas.threads", "default")
    if threads != "default":
        settings.append(f"OPENBLAS_NUM_THREADS={shlex.quote(threads)}")
    if known.get("kernels") == "numpy":
        settings.append("MINIDL_KERNELS=numpy")
    config = shlex.quote(str(run.directory / "config.yaml"))
    # Its own name is taken; without one, a new one is made.
    again = "" if run.flat.get("trainer.name", "null") == "null" else " trainer.name=null"
    lines.append(" ".join([*settings, "minidl", "train", f"{config}{again}"]))
    lines.append(f"minidl eval {shlex.quote(str(run.directory))}")
    return lines
