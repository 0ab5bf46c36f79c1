"""minidl beside its peers: every case of issue 6, each system in a process of its own.

    python scripts/bench/run.py --peers torch,jax,tinygrad,autograd,mygrad --threads 2 --out bench
    python scripts/bench/run.py --peers torch --cases mlp-32,cnn-128 --quick
    python scripts/bench/run.py --peers torch,jax --out bench --merge bench/results.json   # go on

Makes a virtual environment for each system under ``--cache`` (two gigabytes, once), lets the
systems take turns case by case, and writes ``results.json``, ``results.md`` and ``ratios.svg`` to
``--out`` after every case. What can't be measured is named with its reason. ``--cases`` takes
names, or their beginnings (``mlp`` is all MLPs).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import report, rounds, whole
from harness.pipe import Pipe, RefusedError
from harness.systems import (
    CHECKOUT,
    MINIDL,
    MINIDL_NUMPY,
    PEERS,
    SYSTEMS,
    MissingError,
    environment,
    process_environment,
    variables,
)
from peers.cases import CASES

NAMES = [*CASES, *whole.ROWS]


def names(text: str, known: Any, what: str) -> list[str]:
    """Take names, or beginnings of names, apart by commas.

    Raises
    ------
    SystemExit
        One of them is unknown.
    """
    found: list[str] = []
    for part in filter(None, text.split(",")):
        exact = [name for name in known if name == part]
        matching = exact or [name for name in known if name.startswith(part + "-")]
        if not matching:
            sys.exit(f"run.py: there is no {what} {part!r}; known: {', '.join(known)}")
        found += [name for name in matching if name not in found]
    return found


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default="torch", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--cases", default=",".join(NAMES), help="default: all")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--budget", type=float, default=15.0, help="seconds for a case's rounds")
    parser.add_argument("--patience", type=float, default=90.0, help="seconds to build a case")
    parser.add_argument("--train-rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, choices=(1, 2, 4))
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    parser.add_argument("--merge", type=Path, help="results.json of before: measure what it lacks")
    default = Path("~/.cache/minidl-bench").expanduser()
    parser.add_argument("--cache", type=Path, default=default, help="environments; %(default)s")
    parser.add_argument("--no-install", action="store_true", help="make no environment")
    parser.add_argument("--quick", action="store_true", help="three short rounds, to try it")
    settings = parser.parse_args()
    if settings.quick:
        settings.rounds, settings.budget = min(settings.rounds, 3), min(settings.budget, 3.0)
    if settings.rounds < 1 or settings.train_rounds < 1:
        parser.error("at least one round is wanted")
    settings.peers = names(settings.peers, PEERS, "peer")
    settings.cases = names(settings.cases, NAMES, "case")
    settings.cache = settings.cache.expanduser().resolve()
    return settings


def machine(threads: int) -> str:
    """Say what this runs on."""
    model = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    busy = os.getloadavg()[0]
    done = subprocess.run(
        ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    commit = done.stdout.strip() or "unknown"
    return (
        f"{model}, {os.cpu_count()} CPUs, {platform.system()}; {threads} threads for every system; "
        f"{at} UTC, load {busy:.1f} when it began; commit {commit}."
    )


def environments(settings: argparse.Namespace) -> tuple[dict[str, Path], dict[str, dict[str, Any]]]:
    """Return the Pythons of the systems, and what is said about each."""
    pythons, said = {}, {}
    for name in (MINIDL, MINIDL_NUMPY, *settings.peers):
        try:
            pythons[name] = environment(
                SYSTEMS[name], settings.cache, install=not settings.no_install
            )
        except MissingError as missing:
            said[name] = {"missing": str(missing)}
            print(f"{name} is missing: {missing}", file=sys.stderr)
    return pythons, said


class Running:
    """The systems' processes; one that died is started anew when it is asked next."""

    def __init__(self, place: whole.Place) -> None:
        self.place = place
        self.pipes: dict[str, Pipe] = {}

    def __call__(self, system: str) -> Pipe:
        """Return the pipe to a system."""
        pipe = self.pipes.get(system)
        if pipe is None or pipe.process.poll() is not None:
            if pipe is not None:
                pipe.close()
            pipe = self.pipes[system] = self.place.pipe(system)
        return pipe

    def close(self) -> None:
        """End them all."""
        for pipe in self.pipes.values():
            pipe.close()
        self.pipes.clear()


@contextlib.contextmanager
def running(place: whole.Place) -> Iterator[Running]:
    """Start processes as they are wanted, and leave none behind."""
    found = Running(place)
    try:
        yield found
    finally:
        found.close()


def whole_row(name: str, place: whole.Place, systems: list[str], settings: Any) -> dict[str, Any]:
    """Measure a row about whole processes."""
    if name == "start":
        return whole.first_step(place, systems, min(settings.rounds, 7))
    if name == "size":
        return whole.installed_size(place, systems)
    if name == "memory":
        return whole.peak_memory(place, systems)
    return whole.training(place, systems, settings.train_rounds)


def write(results: dict[str, Any], out: Path) -> None:
    """Write results as they are so far."""
    out.mkdir(parents=True, exist_ok=True)
    results["rows"] = {name: results["rows"][name] for name in NAMES if name in results["rows"]}
    temporary = out / "results.json.part"
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    temporary.replace(out / "results.json")
    (out / "results.md").write_text(report.markdown(results))
    report.plot(list(results["rows"].values()), out / "ratios.svg")


def earlier(settings: argparse.Namespace) -> dict[str, Any]:
    """Return the rows of ``--merge``.

    Raises
    ------
    SystemExit
        They were measured with another number of threads.
    """
    if settings.merge is None:
        return {}
    old = json.loads(settings.merge.read_text())
    if old["threads"] != settings.threads:
        sys.exit(f"run.py: {settings.merge} has {old['threads']} threads, not {settings.threads}")
    return dict(old["rows"])


def measure(settings: argparse.Namespace, place: whole.Place, results: dict[str, Any]) -> None:
    """Measure the cases that are not there yet, and write after each."""
    systems = list(place.pythons)
    limits = rounds.Limits(
        settings.rounds, settings.budget, settings.patience, 0.04 if settings.threads > 1 else 0.0
    )
    with running(place) as pipes:
        for system in systems:
            try:
                results["systems"][system] = pipes(system).ask("hello")["versions"]
            except RefusedError as refused:
                results["systems"][system] = {"missing": str(refused)}
                print(f"{system} is missing: {refused}", file=sys.stderr)
        present = [name for name in systems if "missing" not in results["systems"][name]]
        for name in settings.cases:
            if name in results["rows"]:
                continue
            began = time.monotonic()
            if name in CASES:
                row = rounds.measured(CASES[name], present, pipes, limits)
            else:
                pipes.close()  # nothing beside a whole process
                row = whole_row(name, place, present, settings)
            results["rows"][name] = row
            write(results, settings.out)
            found = report.judged(row)["ratio"]
            told = f"{found.median:.2f} of the fastest peer" if found else "no ratio"
            took = time.monotonic() - began
            print(f"{name:<18} {told}   ({took:.0f} s)", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and write."""
    settings = arguments()
    began = time.monotonic()
    pythons, said = environments(settings)
    threads, cache = settings.threads, settings.cache
    place = whole.Place(
        pythons, lambda name: process_environment(SYSTEMS[name], threads, cache), threads
    )
    results: dict[str, Any] = {
        "machine": machine(threads),
        "command": shlex.join(["python", "scripts/bench/run.py", *sys.argv[1:]]),
        "threads": threads,
        "variables": variables(threads, cache),
        "systems": dict(said),
        "rows": earlier(settings),
    }
    measure(settings, place, results)
    write(results, settings.out)
    print((settings.out / "results.md").read_text())
    print(f"{settings.out}/results.json, {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
