"""One system in a process of its own, taking orders over a pipe.

    python -m peers.worker torch --threads 1

An order is one line of JSON on standard input, an answer one line on standard output; what
libraries print goes to standard error. Between orders the process sleeps in a read. Orders:

    {"do": "hello"}                               versions
    {"do": "variants", "case": C}                 how the system can do this case; none: it cannot
    {"do": "prepare", "case": C, "variant": V}    build it: everything that is not timed
    {"do": "run", "case": C, "variant": V, "steps": n}   seconds and result of each of n steps
    {"do": "drop"}                                forget what was prepared
    {"do": "memory"}                              largest resident size of the process so far, bytes
    {"do": "size", "distribution": D}             bytes installed for D and what it requires
    {"do": "quit"}

A failed order is answered with {"error": why}; the process goes on.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from peers.cases import CASES

Step = Callable[[int], Any]


def as_number(result: Any) -> float:
    """Reduce a step's result to the number that is compared between systems."""
    return float(np.abs(np.asarray(result, dtype=np.float64)).mean())


def timed(step: Step, first: int, steps: int) -> dict[str, Any]:
    """Run steps ``first`` … and time each."""
    seconds, results = [], []
    gc.collect()
    gc.disable()  # a collection would fall into some step of some system by chance
    try:
        worked = time.process_time()
        began = time.perf_counter()
        for i in range(first, first + steps):
            start = time.perf_counter()
            result = step(i)
            seconds.append(time.perf_counter() - start)
            results.append(as_number(result))
        wall, cpu = time.perf_counter() - began, time.process_time() - worked
    finally:
        gc.enable()
    return {"seconds": seconds, "results": results, "cpu": cpu / wall}


def required(distribution: str) -> set[str]:
    """Name a distribution and all that it requires, without extras."""
    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            wanted = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform, or an extra's
        found.add(name)
        for line in wanted:
            requirement, _, marker = line.partition(";")
            if "extra" not in marker:
                waiting.append(re.split(r"[\s\[<>=!~(]", requirement.strip())[0])
    return found


def installed_bytes(distribution: str) -> dict[str, int]:
    """Return the bytes of the files of a distribution and of each that it requires.

    Byte code is left out: when it is written differs between installers.
    """
    sizes = {}
    for name in sorted(required(distribution)):
        files = importlib.metadata.files(name) or []
        paths = [str(file.locate()) for file in files if file.suffix != ".pyc"]
        sizes[name] = sum(os.path.getsize(path) for path in paths if os.path.exists(path))
    return sizes


class Worker:
    """What was prepared, and the orders."""

    def __init__(self, peer: Any, threads: int) -> None:
        self.peer, self.threads = peer, threads
        self.prepared: dict[tuple[str, str], Step] = {}
        self.taken: dict[tuple[str, str], int] = {}

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what is ordered."""
        return getattr(self, "do_" + order.pop("do"))(**order)  # type: ignore[no-any-return]

    def do_hello(self) -> dict[str, Any]:
        """Say what this is."""
        python = ".".join(map(str, sys.version_info[:3]))
        return {"versions": {"Python": python, "NumPy": np.__version__, **self.peer.versions()}}

    def do_variants(self, case: str) -> dict[str, Any]:
        """Name the ways to do a case."""
        return {"variants": self.peer.variants(CASES[case])}

    def do_prepare(self, case: str, variant: str) -> dict[str, Any]:
        """Build a case."""
        start = time.perf_counter()
        getattr(self.peer, "settle", lambda: None)()
        step = self.peer.prepare(CASES[case], variant, threads=self.threads)
        self.prepared[case, variant], self.taken[case, variant] = step, 0
        return {"seconds": time.perf_counter() - start}

    def do_run(self, case: str, variant: str, steps: int) -> dict[str, Any]:
        """Take steps."""
        key = (case, variant)
        found = timed(self.prepared[key], self.taken[key], steps)
        self.taken[key] += steps
        return found

    def do_drop(self) -> dict[str, Any]:
        """Forget."""
        self.prepared.clear()
        gc.collect()
        return {}

    def do_memory(self) -> dict[str, Any]:
        """Return the largest resident size so far."""
        return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    def do_size(self, distribution: str) -> dict[str, Any]:
        """Return what is installed."""
        return {"bytes": installed_bytes(distribution)}


def one_line(error: BaseException) -> str:
    """Write an error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def serve(worker: Worker, orders: TextIO, answers: TextIO) -> None:
    """Take orders until there are no more."""
    for line in orders:
        order = json.loads(line)
        if order["do"] == "quit":
            return
        try:
            answer = worker.answer(order)
        except Exception as error:  # told to the other side, which names it in the table
            answer = {"error": one_line(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve, or do one step and say so."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one-step", metavar="CASE", help="do one step and end")
    settings = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed from now on is no answer
    try:
        worker = Worker(importlib.import_module(f"peers.{settings.peer}_peer"), settings.threads)
    except Exception as error:
        answers.write(json.dumps({"error": one_line(error)}) + "\n")
        answers.flush()
        raise SystemExit(1) from None
    if settings.one_step:
        variant = worker.peer.variants(CASES[settings.one_step])[0]
        step = worker.peer.prepare(CASES[settings.one_step], variant, threads=settings.threads)
        answers.write(json.dumps({"result": as_number(step(0))}) + "\n")
        answers.flush()
        return
    serve(worker, sys.stdin, answers)


if __name__ == "__main__":
    main()
