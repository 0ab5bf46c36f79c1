"""Lists of runs: what stands in a column, which runs are wanted, in which order.

A key names a fact of a run: a column (``state``, ``steps``, …), a metric (``test/accuracy``: its
last value) or a dotted path of its config (``optimizer.lr``).
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minidl.train.config.problems import did_you_mean
from minidl.train.reporter import figure
from minidl.train.reports.records import RunRecord

FACTS: dict[str, Callable[[RunRecord], Any]] = {
    "name": lambda run: run.name,
    "state": lambda run: run.state,
    "epochs": lambda run: run.epochs,
    "steps": lambda run: run.steps,
    "best": lambda run: run.best.value if run.best else None,
    "seconds": lambda run: run.seconds,
    "samples_per_s": lambda run: run.samples_per_s,
    "began": lambda run: run.began,
}


class UnknownKeyError(ValueError):
    """A key that none of the runs has, or a condition that is none."""


def fact(run: RunRecord, key: str) -> Any:
    """Return what a run has under a key: a number where it can be one, else text, or None."""
    if key in FACTS:
        return FACTS[key](run)
    if key in run.metrics:
        return run.metrics[key]
    return _number_or_text(run.flat.get(key))


def known_keys(runs: Iterable[RunRecord]) -> list[str]:
    """Return all keys that any of the runs has."""
    found = dict.fromkeys(FACTS)
    for run in runs:
        found |= dict.fromkeys([*run.metrics, *run.flat])
    return list(found)


def check_keys(runs: Sequence[RunRecord], keys: Iterable[str]) -> None:
    """Refuse a key that no run has: it is a mistake of typing, and would match nothing quietly.

    Raises
    ------
    UnknownKeyError
        Names the key, and one that was probably meant.
    """
    known = known_keys(runs)
    for key in keys:
        if runs and key not in known:
            hint = did_you_mean(key, known)
            raise UnknownKeyError(f"no run has `{key}`" + (f"; {hint}" if hint else ""))


_CONDITION = re.compile(r"(?P<key>[^=<>!]+)(?P<sign>!=|<=|>=|=|<|>)(?P<value>.*)")
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def select(runs: Sequence[RunRecord], conditions: Sequence[str]) -> list[RunRecord]:
    """Return the runs for which all conditions hold.

    A condition is ``key=value``, ``key!=value`` (numbers by value, text with ``*`` and ``?``), or
    ``key<value`` and its like for numbers.

    Raises
    ------
    UnknownKeyError
        A condition has another form, or its key is no run's.
    """
    for condition in conditions:
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise UnknownKeyError(f"{condition!r}: a condition is key=value, as optimizer.lr=1e-3")
        key, sign, value = match["key"].strip(), match["sign"], match["value"].strip()
        if sign in _ORDER and not isinstance(_number_or_text(value), float):
            raise UnknownKeyError(f"{condition!r}: {sign} wants a number, got {value!r}")
        check_keys(runs, [key])
        runs = [run for run in runs if _holds(fact(run, key), sign, value)]
    return list(runs)


def _holds(found: Any, sign: str, wanted: str) -> bool:
    number = _number_or_text(wanted)
    if isinstance(found, (int, float)) and isinstance(number, float):
        if sign in _ORDER:
            return _ORDER[sign](float(found), number)
        equal = math.isclose(float(found), number, rel_tol=1e-12)
    elif sign in _ORDER:
        return False
    else:
        equal = found is not None and fnmatch.fnmatchcase(str(found), wanted)
    return equal if sign == "=" else not equal


def in_order(runs: Sequence[RunRecord], key: str) -> list[RunRecord]:
    """Return the runs by a key, ``-key`` for the largest first; those without it come last.

    Raises
    ------
    UnknownKeyError
        No run has the key.
    """
    falling, name = key.startswith("-"), key.removeprefix("-")
    check_keys(runs, [name])
    values = {id(run): fact(run, name) for run in runs}
    having = [run for run in runs if _sortable(values[id(run)])]
    # Numbers before text, where a key is a number in one run and a word in another.
    having.sort(key=lambda run: _rank(values[id(run)]), reverse=falling)
    return having + [run for run in runs if not _sortable(values[id(run)])]


def _sortable(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _rank(value: Any) -> tuple[bool, float, str]:
    numeric = isinstance(value, (int, float))
    return not numeric, float(value) if numeric else 0.0, "" if numeric else str(value)


def columns(runs: Sequence[RunRecord], extra: Sequence[str] = ()) -> list[str]:
    """Return the headings of a list of runs."""
    tested = {name for run in runs for name in run.metrics if name.startswith("test/")}
    shown = [name for name in ("test/accuracy", "test/loss") if name in tested]
    monitors = {run.monitor for run in runs if run.best}
    best = f"best {monitors.pop()}" if len(monitors) == 1 else "best"
    return ["run", "state", "epochs", "steps", best, *shown, *extra, "time", "began"]


def row(run: RunRecord, headings: Sequence[str]) -> list[str]:
    """Return a run's line in a list of runs."""
    return [_cell(run, heading) for heading in headings]


def _cell(run: RunRecord, heading: str) -> str:
    if heading == "run":
        return run.name
    if heading == "epochs":
        return _of(run.epochs, run.flat.get("trainer.epochs"))
    if heading == "steps":
        return _of(run.steps, run.flat.get("trainer.max_steps"))
    if heading.startswith("best"):
        if run.best is None:
            return ""
        value = figure(run.best.metric, run.best.value)
        return f"{run.best.metric} {value}" if heading == "best" else value
    if heading == "time":
        return duration(run.seconds)
    if heading == "began":
        return moment(run.began)
    return shown(heading, fact(run, heading))


def _of(done: int | None, planned: str | None) -> str:
    if done is None:
        return ""
    known = planned is not None and planned.isdecimal()
    return f"{done:,}/{int(planned or 0):,}" if known else f"{done:,}"


def shown(key: str, value: Any) -> str:
    """Write a fact: metrics as the training's lines have them, numbers of a config as given."""
    if value is None:
        return ""
    if isinstance(value, float) and ("/" in key or key == "lr"):
        return figure(key, value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """Write a length of time: ``5.9 s``, ``12 min 03 s``, ``1 h 02 min``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(when: float | None) -> str:
    """Write a time as this machine's clock had it."""
    return "" if when is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(when))


def as_data(run: RunRecord) -> dict[str, Any]:
    """Return a run as plain data, for machines."""
    best = run.best
    return {
        "name": run.name,
        "directory": str(run.directory),
        "state": run.state,
        "epochs": run.epochs,
        "steps": run.steps,
        "monitor": run.monitor,
        "best": best.value if best else None,
        "best_epoch": best.epoch if best else None,
        "best_step": best.step if best else None,
        "metrics": run.metrics,
        "seconds": run.seconds,
        "samples_per_s": run.samples_per_s,
        "began": run.began,
        "config": run.config,
        "problems": list(run.problems),
    }


def _number_or_text(text: str | None) -> float | str | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text
