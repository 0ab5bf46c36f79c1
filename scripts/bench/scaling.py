"""Scaling over ranks: measured on this machine's cores, predicted by a cost model for 8 to 1,024.

    python scripts/bench/scaling.py --out scaling-results
    python scripts/bench/scaling.py --quick --out scaling-results     # a first look
    python scripts/bench/scaling.py --page docs/scaling.md            # and its tables into the page

Ranks train on one host (shared memory) and on two hosts that are network namespaces joined by a
cable with a bandwidth and a delay (TCP), strongly and weakly scaled, with overlap and without.
Writes results.json, results.md and scaling.png to ``--out``. The two hosts want Linux, root and
iproute2; where they can't be made, that is said and one host is measured alone. Takes some minutes,
in which nobody else should use the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.systems import CHECKOUT
from ranks import report
from ranks.fitted import ONE_HOST, UNLIMITED
from ranks.hosts import Cable, Hosts, UnavailableError, environment, lacking, mpiexec, two_hosts

#: Samples of a step of one rank; so many altogether where scaling is strong.
BATCH = 128
CASES = ("mlp", "cnn")
NETWORKS: dict[str, Cable | None] = {
    ONE_HOST: None,
    UNLIMITED: Cable(),
    "two hosts, 1 Gbit/s": Cable(mbit=1000),
    "two hosts, 200 Mbit/s, 1 ms": Cable(delay_ms=1.0, mbit=200),
}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("scaling-results"))
    parser.add_argument("--page", type=Path, help="a page whose tables are written anew")
    parser.add_argument("--cases", default=",".join(CASES), help="default: %(default)s")
    parser.add_argument("--ranks", default="2,4", help="even numbers; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="for one setting of a step")
    parser.add_argument("--quick", action="store_true", help="a quarter of a second for each")
    parser.add_argument("--one-host", action="store_true", help="leave the two hosts out")
    parser.add_argument("--results", type=Path, help="results.json of before: measure nothing")
    settings = parser.parse_args()
    settings.cases = settings.cases.split(",")
    if unknown := set(settings.cases) - set(CASES):
        parser.error(f"--cases: {sorted(unknown)} not among {', '.join(CASES)}")
    allowed = {str(count) for count in range(2, BATCH + 1, 2)}
    if not set(settings.ranks.split(",")) <= allowed:
        parser.error(f"--ranks: even numbers from 2 to {BATCH}, not {settings.ranks}")
    settings.ranks = sorted({int(text) for text in settings.ranks.split(",")})
    if settings.seconds <= 0:
        parser.error(f"--seconds: more than 0, not {settings.seconds:g}")
    if settings.quick:
        settings.seconds = min(settings.seconds, 0.25)
    return settings


def machine() -> str:
    """Say what this runs on, and how busy it is."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    done = subprocess.run(
        ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return (
        f"{model}, {cores()} cores, {platform.system()} {platform.release()}; one BLAS thread a "
        f"rank; {at} UTC, load {os.getloadavg()[0]:.1f} when it began; commit "
        f"{done.stdout.strip() or 'unknown'}"
    )


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def asked(command: list[str]) -> Any:
    """Run a command and read the JSON that its first rank prints.

    Raises
    ------
    SystemExit
        It failed.
    """
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        sys.exit(f"scaling.py: {shlex.join(command)}: status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def on_one_host(ranks: int, command: list[str]) -> list[str]:
    """Return what starts ranks on this host."""
    return command if ranks == 1 else [mpiexec(), "-n", str(ranks), *command]


def compute(settings: argparse.Namespace) -> dict[str, Any]:
    """Time passes and updates of one rank alone, and of as many as there are cores."""
    command = [sys.executable, "-m", "ranks.steps", "--parts", "--cases", ",".join(settings.cases)]
    command += ["--seconds", str(settings.seconds)]
    batches = ",".join(str(BATCH // divisor) for divisor in (1, 2, 4, 16))
    alone = asked([*command, "--batches", batches])["rows"]
    several = [*command, "--batches", str(BATCH // 2)]
    beside = asked(on_one_host(cores(), several))["rows"]
    return {"alone": alone, "beside": beside, "cores": cores()}


def measured(settings: argparse.Namespace, hosts: Hosts | None) -> dict[str, Any]:
    """Measure a network and steps over it."""

    def start(ranks: int, command: list[str]) -> Any:
        whole = on_one_host(ranks, command) if hosts is None else hosts.command(ranks, command)
        return asked(whole)

    probe = [sys.executable, "-m", "ranks.probe", "--seconds", str(settings.seconds / 8)]
    step = [sys.executable, "-m", "ranks.steps", "--cases", ",".join(settings.cases)]
    step += ["--seconds", str(settings.seconds)]
    found: dict[str, Any] = {"probe": start(2, probe), "steps": {}}
    for ranks in settings.ranks:
        batches = f"{BATCH // ranks},{BATCH}"
        found["steps"][str(ranks)] = start(ranks, [*step, "--batches", batches])["rows"]
    return found


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Measure everything."""
    results: dict[str, Any] = {
        "machine": machine(),
        "command": shlex.join(["python", "scripts/bench/scaling.py", *sys.argv[1:]]),
        "batch": BATCH,
        "networks": {},
        "missing": {},
        **compute(settings),
    }
    why = "left out by --one-host" if settings.one_host else lacking()
    for name, cable in NETWORKS.items():
        began = time.monotonic()
        if cable is None:
            results["networks"][name] = measured(settings, None)
        elif why is not None:
            results["missing"][name] = why
        else:
            try:
                with two_hosts(cable) as hosts:
                    results["networks"][name] = measured(settings, hosts)
            except UnavailableError as error:
                results["missing"][name] = str(error)
        said = results["missing"].get(name, f"{time.monotonic() - began:.0f} s")
        print(f"{name}: {said}", file=sys.stderr, flush=True)
    return results


def main() -> None:
    """Measure, predict, write."""
    settings = arguments()
    if settings.results is not None:
        results = json.loads(settings.results.read_text())
    else:
        results = measure(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    tables = report.tables(results)
    text = "\n\n".join(f"## {title}\n\n{table}" for title, table in tables.items())
    (settings.out / "results.md").write_text(text + "\n")
    report.plot(results, settings.out / "scaling.png")
    if settings.page is not None:
        report.renew(settings.page, tables)
        report.plot(results, settings.page.parent / "images" / "scaling.png")
    print(text)


if __name__ == "__main__":
    main()
