"""Run MPI ranks on two hosts that are network namespaces of this machine, and remove them.

    python scripts/bench/two_hosts.py -- minidl train configs/mnist_mlp.yaml
    python scripts/bench/two_hosts.py --mbit 100 --delay-ms 1 --ranks 4 -- minidl train CONFIG

The ranks of the two hosts speak TCP over a cable with that bandwidth (each way, set by `tc`) and
that one-way delay. Wants Linux, root, iproute2, and the extra `mpi`. The exit status is mpiexec's.
Only after SIGKILL something is left: `ip netns del minidl-PID-a` and `minidl-PID-b` remove it.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from ranks.hosts import Cable, UnavailableError, environment, two_hosts


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, default=2, help="an even number; default: 2")
    parser.add_argument("--mbit", type=float, help="bandwidth in Mbit/s; default: unlimited")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="one way; default: none")
    parser.add_argument("command", nargs="+", help="after --: what each rank runs")
    settings = parser.parse_args()
    if settings.ranks < 2 or settings.ranks % 2:
        parser.error(f"--ranks: two hosts share an even number of ranks, not {settings.ranks}")
    if settings.mbit is not None and settings.mbit <= 0:
        parser.error(f"--mbit: more than 0 Mbit/s, not {settings.mbit:g}")
    if not 0 <= settings.delay_ms <= 1000:
        parser.error(f"--delay-ms: 0 to 1000 milliseconds, not {settings.delay_ms:g}")
    return settings


def main() -> int:
    """Make the hosts, run, remove them."""
    settings = arguments()
    running: list[subprocess.Popen[bytes]] = []

    def hand_on(*_: object) -> None:
        """Let mpiexec tell the ranks, which may have something to save; wait for them as before."""
        if not running:
            sys.exit(143)
        running[0].terminate()

    signal.signal(signal.SIGTERM, hand_on)
    try:
        with two_hosts(Cable(settings.delay_ms, settings.mbit)) as hosts:
            command = hosts.command(settings.ranks, settings.command)
            with subprocess.Popen(command, env=environment()) as process:
                running.append(process)
                try:
                    return process.wait()
                except KeyboardInterrupt:  # of a terminal: mpiexec has heard it as well
                    return process.wait()
    except UnavailableError as error:
        print(f"two_hosts.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
