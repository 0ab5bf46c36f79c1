"""What does ``import minidl`` add to ``import numpy``?

Each import is timed in a process of its own, the two in turn (A B A B …), so that a machine that
slows down slows down both; with byte code cached, as an installed package has it. Prints the
median and quartiles of each, and of the difference pair by pair. Goal: the median difference at
most 60 ms.

    python scripts/bench/import_time.py --runs 21
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

TIMED = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
WATCHED = ("mlflow", "pydantic", "typer", "rich", "yaml", "numba", "matplotlib", "safetensors")


def seconds(module: str) -> float:
    """Time an import in a fresh process."""
    command = [sys.executable, "-c", TIMED.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return float(done.stdout)


def imported() -> list[str]:
    """Which of the heavy packages does the import bring?"""
    code = f"import sys, minidl; print([m for m in {WATCHED!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout.replace("'", '"')))


def line(name: str, values: list[float]) -> str:
    """Write median and quartiles in milliseconds."""
    low, middle, high = statistics.quantiles([1000 * value for value in values], n=4)
    return f"{name:<22} {middle:7.1f} ms   ({low:.1f} to {high:.1f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=21)
    runs = parser.parse_args().runs
    seconds("numpy"), seconds("minidl")  # fills the file cache and writes the byte code
    pairs = [(seconds("numpy"), seconds("minidl")) for _ in range(runs)]
    print(line("import numpy", [a for a, _ in pairs]))
    print(line("import minidl", [b for _, b in pairs]))
    print(line("minidl adds", [b - a for a, b in pairs]))
    print(f"heavy packages imported: {imported() or 'none'}")


if __name__ == "__main__":
    main()
