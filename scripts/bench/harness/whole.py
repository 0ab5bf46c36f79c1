"""Rows about whole processes: training from start to end, the first step, memory, size."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers.cases import CASES

from harness import summary
from harness.pipe import Pipe, RefusedError
from harness.systems import CHECKOUT, MINIDL, MINIDL_NUMPY, SCRIPTS, SYSTEMS

#: Case, title, unit, goal; all of them against PyTorch.
ROWS = {
    "start": ("process start to first finished step (MLP, batch 32)", "s", 0.15),
    "size": ("installed size, with what it requires", "MB", 0.15),
    "memory": ("peak memory, CNN, batch 128, 20 steps", "MB", 0.7),
    "train": ("`minidl train configs/mnist_cnn.yaml`, 2 epochs of MNIST", "s", 0.6),
}
MB = 1e6


class Place:
    """Where the systems are: their Pythons, and the environments of their processes."""

    def __init__(
        self, pythons: dict[str, Path], variables: Callable[[str], dict[str, str]], threads: int
    ) -> None:
        self.pythons, self.variables, self.threads = pythons, variables, threads

    def command(self, system: str, *more: str) -> list[str]:
        """Return the command of a worker."""
        module, threads = SYSTEMS[system].module, str(self.threads)
        start = [str(self.pythons[system]), "-m", "peers.worker", module]
        return [*start, "--threads", threads, *more]

    def pipe(self, system: str, **how: Any) -> Pipe:
        """Start a worker."""
        return Pipe(self.command(system), env=self.variables(system), **how)


def _row(name: str, entries: list[dict[str, Any]], refused: dict[str, str]) -> dict[str, Any]:
    title, unit, goal = ROWS[name]
    for entry in entries:
        entry |= summary.spread(entry["rounds"])._asdict()
    kinds: dict[str, Any] = {"case": name, "title": title, "kind": "whole", "goal": goal}
    return kinds | {"unit": unit, "entries": entries, "refused": refused, "cannot": {}}


def first_step(place: Place, systems: list[str], rounds: int) -> dict[str, Any]:
    """Time from starting a process to reading the result of its first step."""
    times: dict[str, list[float]] = {system: [] for system in systems}
    refused: dict[str, str] = {}
    for number in range(rounds + 1):
        for system in systems:
            if system in refused:
                continue
            began = time.perf_counter()
            process = subprocess.Popen(
                place.command(system, "--one-step", "mlp-32"),
                env=place.variables(system),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert process.stdout is not None
            line = process.stdout.readline()
            took = time.perf_counter() - began
            process.stdout.close()
            process.wait()
            if b"result" not in line:
                refused[system] = line.decode().strip() or "ended without a word"
            elif number:  # the first fills the file cache and writes byte code
                times[system].append(took)
    entries = [
        {"system": system, "variant": "first step", "rounds": values}
        for system, values in times.items()
        if values
    ]
    return _row("start", entries, refused)


def installed_size(place: Place, systems: list[str]) -> dict[str, Any]:
    """Weigh the files of a distribution and of all that it requires, byte code left out.

    minidl is weighed without numba: that is its core.
    """
    entries, refused = [], {}
    for system in systems:
        if system == MINIDL:
            continue
        distribution = SYSTEMS[system].distribution
        try:
            with place.pipe(system) as pipe:
                sizes = pipe.ask("size", distribution=distribution)["bytes"]
        except RefusedError as error:
            refused[system] = str(error)
            continue
        total = sum(sizes.values()) / MB
        entry = {"system": system, "variant": "installed", "rounds": [total], "parts": sizes}
        entries.append(entry)
    return _row("size", entries, refused)


def peak_memory(place: Place, systems: list[str]) -> dict[str, Any]:
    """Measure the largest resident size of a process that does nothing but the CNN's steps."""
    case = CASES["cnn-128"]
    entries, refused = [], {}
    for system in systems:
        try:
            with place.pipe(system) as pipe:
                variants = pipe.ask("variants", case=case.name)["variants"]
        except RefusedError as error:
            refused[system] = str(error)
            continue
        for variant in variants:
            if variant == "floor" or (variant.startswith("compiled") and system == "torch"):
                continue  # `torch.compile` brings its compiler into the process: never the smallest
            about = {"case": case.name, "variant": variant}
            try:
                with place.pipe(system, patience=180.0) as pipe:
                    pipe.ask("prepare", **about)
                    pipe.ask("run", steps=summary.COMPARED, **about)
                    peak = pipe.ask("memory")["bytes"] / MB
            except RefusedError as error:
                refused[f"{system}, {variant}"] = str(error)
                continue
            entries.append({"system": system, "variant": variant, "rounds": [peak]})
    return _row("memory", entries, refused)


def _commands(place: Place, systems: list[str]) -> dict[str, list[str]]:
    config = str(CHECKOUT / "configs" / "mnist_cnn.yaml")
    command = ["-m", "minidl", "train", config, "trainer.epochs=2", "tracking=null"]
    found = {
        system: [str(place.pythons[system]), *command]
        for system in (MINIDL, MINIDL_NUMPY)
        if system in systems
    }
    if "torch" in systems:
        script = str(SCRIPTS / "peers" / "torch_mnist.py")
        found["torch"] = [str(place.pythons["torch"]), script, "--epochs", "2"]
        found["torch"] += ["--threads", str(place.threads)]
    return found


def training(place: Place, systems: list[str], rounds: int) -> dict[str, Any]:
    """Time `minidl train` and the same in plain PyTorch, from process start to process end."""
    if not os.environ.get("MINIDL_DATA"):
        return _row("train", [], {"all": "MINIDL_DATA names no directory with MNIST's files"})
    commands = _commands(place, systems)
    times: dict[str, list[float]] = {system: [] for system in commands}
    tails: dict[str, str] = {}
    refused: dict[str, str] = {}
    for _ in range(rounds):
        for system, command in commands.items():
            with tempfile.TemporaryDirectory() as directory:
                began = time.perf_counter()
                done = subprocess.run(
                    command,
                    cwd=directory,
                    env=place.variables(system),
                    capture_output=True,
                    text=True,
                    check=False,
                )
                took = time.perf_counter() - began
            lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
            if done.returncode:
                refused[system] = f"status {done.returncode}: {lines[-1] if lines else 'no word'}"
                continue
            times[system].append(took)
            tails[system] = "\n".join(lines[-8:])
            print(f"train: {system} {took:.1f} s", file=sys.stderr, flush=True)
    entries = [
        {"system": system, "variant": "whole", "rounds": values, "said": tails[system]}
        for system, values in times.items()
        if values
    ]
    return _row("train", entries, refused)
