"""How many requests a second does `minidl serve` answer, and how many `mlflow models serve`?

Both serve the same model on loopback, one server process each, with the same BLAS threads, and get
the same requests at ``/invocations`` from wrk (a load generator in a process of its own). Their
answers are compared first. Rounds go from one server to the other in turn; the median round is
printed: requests a second, the milliseconds in which half and 99 % of them were answered, and the
milliseconds of processor time a request took the server, which say more than the others where the
machine has more to do.

    pip install 'minidl[serve,mlflow]'
    apt install wrk
    minidl train configs/quickstart.yaml trainer.name=quickstart tracking=null
    python scripts/bench/serving.py runs/quickstart
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from minidl.data import MNISTSample

START_SECONDS = 120
LOCAL = ("--env-manager", "local")
SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Server:
    address: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Of the process and its children, since they began."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(member.cpu_times()[:2]) for member in family)


@contextmanager
def running(command: list[str], address: str, log: Path, threads: int) -> Iterator[Server]:
    """Run a server until it is no longer wanted; both answer at /ping."""
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": str(threads),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, start_new_session=True
        )
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    sys.exit(f"{command} did not start:\n{log.read_text()}")
                time.sleep(0.2)
        yield Server(address, psutil.Process(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def answer(address: str, body: bytes) -> Any:
    request = urllib.request.Request(
        f"{address}/invocations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return np.array(json.loads(response.read())["predictions"])


def load(server: Server, script: Path, clients: int, seconds: int) -> tuple[float, ...]:
    """Return requests a second, median and 99th percentile of latency, CPU a request (ms)."""
    before = server.cpu_seconds()
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "--latency"]
    command += ["-s", str(script), f"{server.address}/invocations"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = server.cpu_seconds() - before
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"not every request was answered:\n{said}")
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    latencies = {
        share: float(value) * units[unit]
        for share, value, unit in re.findall(r"^ +(\d+)% +([\d.]+)(us|ms|s) *$", said, re.MULTILINE)
    }
    (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", said)
    (count,) = re.findall(r"(\d+) requests in", said)
    return float(rate), latencies["50"], latencies["99"], 1e3 * used / max(1, int(count))


def measure(arguments: argparse.Namespace, folder: Path, servers: dict[str, Server]) -> None:
    """Print a line for each number of samples in a request, of clients, and each server."""
    row = "{:>8}{:>8}  {:<8}{:>11}{:>9}{:>9}{:>9}"
    print(row.format("samples", "clients", "server", "requests/s", "p50, ms", "p99, ms", "CPU, ms"))
    for samples in arguments.samples:
        body = json.dumps({"inputs": MNISTSample().test.inputs[:samples].tolist()}).encode()
        (folder / "body.json").write_bytes(body)
        script = folder / "post.lua"
        script.write_text(SCRIPT.format(body=folder / "body.json"))
        found = [answer(server.address, body) for server in servers.values()]
        np.testing.assert_allclose(found[0], found[1], atol=1e-6)
        for clients in arguments.clients:
            rounds: dict[str, list[tuple[float, ...]]] = {name: [] for name in servers}
            for server in servers.values():  # neither is measured cold
                load(server, script, clients, 1)
            for _ in range(arguments.rounds):
                for name, server in servers.items():
                    rounds[name].append(load(server, script, clients, arguments.seconds))
            medians = {
                name: [statistics.median(column) for column in zip(*results, strict=True)]
                for name, results in rounds.items()
            }
            for name, (rate, half, most, cpu) in medians.items():
                figures = (f"{rate:.0f}", f"{half:.1f}", f"{most:.1f}", f"{cpu:.2f}")
                print(row.format(samples, clients, name, *figures))
            ratio = medians["minidl"][0] / medians["mlflow"][0]
            print(row.format("", "", "ratio", f"{ratio:.2f}", "", "", ""), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 32], help="a request")
    parser.add_argument("--seconds", type=int, default=10, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of BLAS, in each server")
    parser.add_argument("options", nargs="*", help="more for minidl serve, after --")
    arguments = parser.parse_args()
    from minidl.train.tracking.flavor import save_model

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        example = MNISTSample().test.inputs[:2]
        model = folder / "model"
        save_model(model, arguments.run, input_example=example)
        bin_folder = Path(sys.executable).parent
        commands: dict[str, list[Any]] = {
            "minidl": [bin_folder / "minidl", "serve", arguments.run, *arguments.options],
            "mlflow": [bin_folder / "mlflow", "models", "serve", "-m", model, *LOCAL],
        }
        servers = {}
        for name, command in commands.items():
            port = free_port()
            full = [str(word) for word in [*command, "--host", "127.0.0.1", "--port", port]]
            address, log = f"http://127.0.0.1:{port}", folder / f"{name}.log"
            servers[name] = stack.enter_context(running(full, address, log, arguments.threads))
        measure(arguments, folder, servers)


if __name__ == "__main__":
    main()
