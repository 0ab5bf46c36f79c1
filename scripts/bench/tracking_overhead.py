"""What does tracking add to a run's time?

The same small run, which makes 5,000 points, is trained without tracking, tracked to a SQLite
file, and tracked to an `mlflow server`; each in a process of its own, in turn (A B C A B C …), so
that a machine that slows down slows down all three. Prints the median seconds of each and the
median of the ratios within a round. Goal: at most 1.02.

A run is timed from the first step to the last line that it prints: the import of MLflow (in the
tracking's thread) and the last flush are part of it, the start of Python is not. Without a model
and without plots, so that points are what is measured.

    python scripts/bench/tracking_overhead.py --runs 5 --seconds 120
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POINTS = 5000
POINTS_A_STEP = 4  # loss, accuracy, learning rate, throughput

RUN = """
import json, sys, time
from minidl.train.config import load_config
from minidl.train.trainer import Trainer
from minidl.train.reports import plots
plots.plots_available = lambda: False
config, *overrides = sys.argv[1:]
trainer = Trainer(load_config(config, overrides), overrides=overrides)
began = time.perf_counter()
result = trainer.run()
seconds = time.perf_counter() - began
tracking = result.tracking
sent = None if tracking is None else [tracking.status, tracking.points_sent]
print("RESULT", json.dumps({"seconds": seconds, "tracking": sent}))
"""

CONFIG = """
seed: 1
data: {{type: MNISTSample, batch_size: 60, val_fraction: 0.1}}
model:
  type: Sequential
  layers:
    - {{type: Conv2d, out_channels: 8, kernel_size: 3, padding: 1}}
    - {{type: ReLU}}
    - {{type: MaxPool2d, kernel_size: 2}}
    - {{type: Flatten}}
    - {{type: Linear, out_features: {width}}}
    - {{type: ReLU}}
    - {{type: Linear, out_features: 10}}
optimizer: {{type: SGD, lr: 1e-2}}
trainer: {{epochs: {epochs}, log_every: {every}}}
"""


def environment() -> dict[str, str]:
    """What the processes see."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


@contextmanager
def server(folder: Path):
    """Run an MLflow server over a SQLite file until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/server.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=environment(), start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            sys.exit((folder / "server.log").read_text())
        yield uri
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def train(folder: Path, config: Path, uri: str | None) -> dict:
    """Train once in a fresh process; return its seconds and what was sent."""
    tracking = "null" if uri is None else f"{{uri: '{uri}', log_model: false}}"
    command = [sys.executable, "-c", RUN, str(config), f"tracking={tracking}"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment(), check=False
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    shutil.rmtree(folder / "runs")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT "))


def sized(folder: Path, seconds: float) -> Path:
    """Write a config of a run that makes at least 5,000 points and takes about ``seconds``."""
    path = folder / "run.yaml"
    steps_an_epoch = 90
    logged = -(-POINTS // POINTS_A_STEP)
    every, epochs = 1, -(-logged // steps_an_epoch)
    path.write_text(CONFIG.format(width=64, epochs=epochs, every=every))
    first = train(folder, path, None)["seconds"]
    # The same points over more steps.
    every = max(1, round(seconds / first))
    epochs *= every
    path.write_text(CONFIG.format(width=64, epochs=epochs, every=every))
    print(f"{epochs} epochs of {steps_an_epoch} steps, a point of each metric every {every} steps")
    return path


def main() -> None:
    """Time the three in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="rounds")
    parser.add_argument("--seconds", type=float, default=60.0, help="about, of one run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="minidl-overhead-") as name:
        folder = Path(name)
        config = sized(folder, options.seconds)
        with server(folder) as address:
            ways = {"none": None, "SQLite": f"sqlite:///{folder}/mlflow.db", "server": address}
            train(folder, config.parent / "run.yaml", ways["SQLite"])  # makes the database
            rounds = []
            for number in range(options.runs):
                found = {way: train(folder, config, uri) for way, uri in ways.items()}
                rounds.append({way: result["seconds"] for way, result in found.items()})
                times = ", ".join(f"{way} {s:.2f} s" for way, s in rounds[-1].items())
                sent = ", ".join(f"{way} {result['tracking']}" for way, result in found.items())
                print(f"round {number + 1}: {times}   sent: {sent}", flush=True)
        for way in ways:
            median = statistics.median(times[way] for times in rounds)
            ratio = statistics.median(times[way] / times["none"] for times in rounds)
            print(f"{way:7} median {median:8.2f} s   ratio {ratio:.4f}")


if __name__ == "__main__":
    main()
