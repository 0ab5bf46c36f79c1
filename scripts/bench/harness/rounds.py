"""One case, measured: every system prepares it, agrees on the results, and then they take turns.

Each way (variant) of each system takes the same first steps; whose results differ from the
reference's is refused. The times of those steps choose, for every system, the ways that may be its
fastest; these take turns, a tenth of a second each, in an order that rotates from round to round.
Only one process works at a time. A turn counts as the median of its steps, so a round gives one
number for every way, and the row the median and quartiles over the rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from peers.cases import Case

from harness import summary
from harness.pipe import Pipe, RefusedError
from harness.systems import MINIDL, MINIDL_NUMPY

#: Seconds of work in a turn.
TURN = 0.1
#: Ways of a system that took at most this much longer than its fastest take part in the rounds.
CLOSE = 1.5
#: A system this much slower than the fastest takes part in a few rounds only.
FAR, FEW = 4.0, 5

FLOOR = "floor"


class Way(NamedTuple):
    """A system in one of its configurations."""

    system: str
    variant: str

    def __str__(self) -> str:
        return f"{self.system}, {self.variant}"


class Limits(NamedTuple):
    """How long a case may take."""

    rounds: int
    budget: float  # seconds for the rounds of one case
    patience: float  # seconds for one way to be prepared and take its first steps
    pause: float  # seconds between turns: until the other system's threads sleep


Pipes = Callable[[str], Pipe]


def prepared(case: Case, systems: list[str], pipes: Pipes, limits: Limits) -> dict[str, Any]:
    """Let every system build the case and take its first steps; errors and absences by name."""
    found: dict[str, Any] = {"ways": {}, "refused": {}, "cannot": {}}
    for system in systems:
        try:
            variants = pipes(system).ask("variants", case=case.name)["variants"]
        except RefusedError as error:
            found["cannot"][system] = str(error)
            continue
        if not variants:
            found["cannot"][system] = "has no such case"
        for variant in variants:
            way, pipe = Way(system, variant), pipes(system)
            try:
                found["ways"][way] = first_steps(case, way, pipe, limits.patience)
            except RefusedError as error:
                found["refused"][str(way)] = str(error)
                if pipe.process.poll() is not None:
                    prepare_again(case, system, found, pipes, limits)
    return found


def prepare_again(
    case: Case, system: str, found: dict[str, Any], pipes: Pipes, limits: Limits
) -> None:
    """Build anew what a system had prepared when its process died."""
    for way in [known for known in found["ways"] if known.system == system]:
        try:
            found["ways"][way] = first_steps(case, way, pipes(system), limits.patience)
        except RefusedError as error:
            del found["ways"][way]
            found["refused"][str(way)] = str(error)


def first_steps(case: Case, way: Way, pipe: Pipe, patience: float) -> dict[str, Any]:
    """Build a case in one way and take the steps whose results are compared."""
    about = {"case": case.name, "variant": way.variant}
    began = time.monotonic()
    took = pipe.ask("prepare", patience=patience, **about)["seconds"]
    steps = summary.COMPARED if case.kind == "train" else 5
    left = max(1.0, patience - (time.monotonic() - began))
    answer = pipe.ask("run", steps=steps, patience=left, **about)
    return {
        "prepare": took,
        "results": answer["results"],
        "first": answer["seconds"][0],
        # The quickest: another process can only make a step longer.
        "pilot": min(answer["seconds"][steps // 2 :]),
    }


def refuse(found: dict[str, Any]) -> str | None:
    """Move ways whose results differ to ``refused``; return who the reference is.

    The reference is PyTorch where it is there, else the first way that is not a floor.
    """
    compared = [way for way in found["ways"] if way.variant != FLOOR]
    if not compared:
        return None
    reference = next((way for way in compared if way.system == "torch"), compared[0])
    expected = found["ways"][reference]["results"]
    for way in compared:
        why = summary.disagreement(found["ways"][way]["results"], expected)
        if why is not None:
            found["refused"][str(way)] = f"other results than {reference}: {why}"
            del found["ways"][way]
    return str(reference)


def chosen(pilots: Mapping[Way, float]) -> list[Way]:
    """Choose the ways that take turns: all of minidl's, and of a peer those near its fastest."""
    kept = []
    for way, pilot in pilots.items():
        best = min(p for other, p in pilots.items() if other.system == way.system)
        ours = way.system in (MINIDL, MINIDL_NUMPY)
        if way.variant == FLOOR:
            if way.system == MINIDL:
                kept.append(way)
        elif ours or pilot <= CLOSE * best:
            kept.append(way)
    return kept


def take_turns(
    case: Case, pilots: Mapping[Way, float], pipes: Pipes, limits: Limits
) -> tuple[dict[Way, list[float]], dict[Way, float], dict[str, str]]:
    """Run the rounds.

    Returns
    -------
    The seconds a step of each round, the share of the CPU used, and who dropped out and why.
    """
    ways = chosen(pilots)
    quickest = min((pilots[way] for way in ways if way.variant != FLOOR), default=0.0)
    times: dict[Way, list[float]] = {way: [] for way in ways}
    cpu: dict[Way, list[float]] = {way: [] for way in ways}
    lost: dict[str, str] = {}
    until = time.monotonic() + limits.budget
    for number in range(limits.rounds):
        turn = number % max(1, len(ways))
        for way in ways[turn:] + ways[:turn]:
            if str(way) in lost or (number >= FEW and pilots[way] > FAR * quickest):
                continue
            steps = max(1, min(2000, round(TURN / max(pilots[way], 1e-7))))
            warm = 1 + steps // 10
            time.sleep(limits.pause)
            try:
                answer = pipes(way.system).ask(
                    "run", case=case.name, variant=way.variant, steps=warm + steps
                )
            except RefusedError as error:
                lost[str(way)] = str(error)
                continue
            times[way].append(statistics.median(answer["seconds"][warm:]))
            cpu[way].append(answer["cpu"])
        if time.monotonic() > until and number + 1 >= min(FEW, limits.rounds):
            break
    # A way that was lost on the way has no say.
    kept = {way: values for way, values in times.items() if values and str(way) not in lost}
    return kept, {way: statistics.median(cpu[way]) for way in kept}, lost


def measured(case: Case, systems: list[str], pipes: Pipes, limits: Limits) -> dict[str, Any]:
    """Measure a case; the row as it goes to JSON."""
    began = time.monotonic()
    found = prepared(case, systems, pipes, limits)
    reference = refuse(found)
    pilots = {way: about["pilot"] for way, about in found["ways"].items()}
    times, cpu, lost = take_turns(case, pilots, pipes, limits)
    found["refused"].update(lost)
    for system in systems:
        try:
            pipes(system).ask("drop")
        except RefusedError as error:
            print(f"{system}: {error}", file=sys.stderr)
    entries = []
    for way, about in found["ways"].items():
        if str(way) in lost or (way not in times and way.variant == FLOOR):
            continue
        entry = {"system": way.system, "variant": way.variant, **about}
        if way in times:
            entry |= {"rounds": times[way], **summary.spread(times[way])._asdict()}
            entry["cpu"] = cpu[way]
        entries.append(entry)
    return {
        "case": case.name,
        "title": case.title,
        "kind": case.kind,
        "goal": case.goal,
        "unit": "s",
        "reference": reference,
        "entries": entries,
        "refused": found["refused"],
        "cannot": found["cannot"],
        "took": time.monotonic() - began,
    }
