"""Two hosts on one machine: network namespaces, a cable between them, and MPI ranks on both.

Each host is a namespace with one address, and has a core of its own where there are two. Without a
delay the cable is a veth pair; with one it is a `DelayLine`. The bandwidth is set by `tc`: a token
bucket at either end, as each direction of a cable has its own. Ranks on different hosts speak TCP
over the cable and nothing else; ranks on one host use shared memory, as on real hosts.

What is made here has names with this process's number in it and is removed by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ranks.delay_line import MTU, DelayLine

ADDRESSES = ("10.77.8.1", "10.77.8.2")
#: The name that each host has for its end of the cable.
DEVICE = "cable"
CHECKOUT = Path(__file__).resolve().parents[3]


class UnavailableError(Exception):
    """Two hosts can't be made here; the text says why."""


class Cable(NamedTuple):
    """What joins the hosts: one-way delay in ms, bandwidth in Mbit/s (None: as it comes)."""

    delay_ms: float = 0.0
    mbit: float | None = None

    def __str__(self) -> str:
        rate = "unlimited" if self.mbit is None else f"{self.mbit:g} Mbit/s"
        return f"{rate}, {self.delay_ms:g} ms" if self.delay_ms else f"{rate}, no delay"


def mpiexec() -> str:
    """Return the launcher beside this Python, or the one on the path.

    Raises
    ------
    UnavailableError
        There is none.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise UnavailableError("there is no mpiexec: pip install 'minidl[mpi]'")
    return found


def lacking() -> str | None:
    """Say why two hosts can't be made here, or None where they can."""
    if sys.platform != "linux":
        return f"network namespaces are Linux's, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "network namespaces want root"
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} not installed (Debian: iproute2)"
    name = f"minidl-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    inside = subprocess.run(
        ["ip", "netns", "exec", name, "true"], capture_output=True, text=True, check=False
    )
    subprocess.run(["ip", "netns", "del", name], check=False)
    if inside.returncode:
        return f"no network namespace can be entered: {inside.stderr.strip()}"
    return None


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"{shlex.join(command)}: {done.stderr.strip() or done.returncode}")


class Hosts:
    """The two hosts, while they are there; made by `two_hosts`."""

    def __init__(self, names: tuple[str, str], launcher: Path) -> None:
        self.names, self.launcher = names, launcher

    def command(self, ranks: int, command: Sequence[str]) -> list[str]:
        """Return what starts ``ranks`` ranks of a command, the first half on the first host.

        MPICH's UCX would find the other host's ranks in shared memory, since the two hosts share a
        kernel: UCX_TLS forbids it. UCX_NET_DEVICES keeps it from trying the loopback device first.

        Raises
        ------
        ValueError
            An odd number of ranks, which two hosts can't share evenly.
        """
        if ranks < 2 or ranks % 2:
            raise ValueError(f"two hosts share an even number of ranks, not {ranks}")
        on = ",".join(f"{address}:{ranks // 2}" for address in ADDRESSES)
        start = [*inside(self.names[0], 0), mpiexec(), "-launcher", "ssh"]
        start += ["-launcher-exec", str(self.launcher), "-iface", DEVICE]
        start += ["-genv", "UCX_TLS", "tcp,self", "-genv", "UCX_NET_DEVICES", DEVICE]
        return [*start, "-hosts", on, "-n", str(ranks), *command]

    def sent(self) -> int:
        """Bytes that the first host has put on the cable, headers and acknowledgements included."""
        return self._counter("tx_bytes")

    def received(self) -> int:
        """Bytes that have come to the first host over the cable."""
        return self._counter("rx_bytes")

    def _counter(self, name: str) -> int:
        path = f"/sys/class/net/{DEVICE}/statistics/{name}"
        done = subprocess.run(
            ["ip", "netns", "exec", self.names[0], "cat", path],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(done.stdout)


def environment() -> dict[str, str]:
    """Return the variables of the ranks: this checkout, a BLAS thread each, no launcher around."""
    path = [str(CHECKOUT / "scripts" / "bench"), str(CHECKOUT)]
    path += filter(None, [os.environ.get("PYTHONPATH")])
    launcher = ("PMI_", "PMIX_", "OMPI_", "MPI_LOCAL", "HYDI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(launcher)}
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    return {**threads, **kept, "PYTHONPATH": os.pathsep.join(path)}


def inside(name: str, number: int) -> list[str]:
    """Return what a command on a host begins with (number 0 or 1), on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    pinned = ["taskset", "-c", str(cores[number % len(cores)])] if shutil.which("taskset") else []
    return ["ip", "netns", "exec", name, *pinned]


def _launcher(folder: Path, names: tuple[str, str]) -> Path:
    """Write what Hydra calls in the place of ssh: options, the host, one line for its shell."""
    cases = [
        f'  {address}) exec {shlex.join(inside(name, number))} sh -c "$*" ;;'
        for number, (address, name) in enumerate(zip(ADDRESSES, names, strict=True))
    ]
    path = folder / "launch-on-host"
    path.write_text(
        "#!/bin/sh\n"
        'while [ "${1#-}" != "$1" ]; do shift; done\n'
        "host=$1; shift\n"
        'case "$host" in\n' + "\n".join(cases) + "\n"
        'esac\necho "no such host: $host" >&2; exit 1\n'
    )
    path.chmod(0o700)
    return path


def _join(names: tuple[str, str], cable: Cable) -> DelayLine | None:
    """Make the cable and put its ends into the hosts."""
    if not cable.delay_ms:
        _do("ip", "link", "add", DEVICE, "netns", names[0], "type", "veth",
            "peer", "name", DEVICE, "netns", names[1])  # fmt: skip
        return None
    made = (f"mdl{os.getpid()}a", f"mdl{os.getpid()}b")
    try:
        line = DelayLine(made, delay=cable.delay_ms / 1e3)
    except OSError as error:
        raise UnavailableError(f"a delay wants TAP devices: {error}") from None
    try:
        for device, name in zip(made, names, strict=True):
            _do("ip", "link", "set", device, "netns", name, "name", DEVICE)
    except UnavailableError:
        line.close()
        raise
    return line


def _configure(name: str, address: str, cable: Cable) -> None:
    """Give a host its address, and its end of the cable a size of frames and a bandwidth."""
    _do("ip", "-n", name, "addr", "add", f"{address}/24", "dev", DEVICE)
    _do("ip", "-n", name, "link", "set", "lo", "up")
    _do("ip", "-n", name, "link", "set", DEVICE, "mtu", str(MTU), "up")
    if cable.mbit is not None:
        # The queue holds 100 ms; beyond that a bucket of packets is lost, as at a real switch.
        _do("tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", "tbf",
            "rate", f"{cable.mbit:g}mbit", "burst", "32kb", "latency", "100ms")  # fmt: skip


def _wait_until_up(name: str) -> None:
    """Wait for the device's carrier: the kernel tells of it up to a second later."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        done = subprocess.run(
            ["ip", "-n", name, "-json", "link", "show", DEVICE],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        link = json.loads(done.stdout)[0]
        if "LOWER_UP" in link["flags"] and link["operstate"] in ("UP", "UNKNOWN"):
            return
        time.sleep(0.02)
    raise UnavailableError(f"{name}: the cable has no carrier after 30 s")


@contextlib.contextmanager
def two_hosts(cable: Cable) -> Iterator[Hosts]:
    """Make two hosts and remove them at the end.

    Raises
    ------
    UnavailableError
        They can't be made here.
    """
    why = lacking()
    if why is not None:
        raise UnavailableError(why)
    number = os.getpid()
    names = (f"minidl-{number}-a", f"minidl-{number}-b")
    with contextlib.ExitStack() as undo:
        folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="minidl-hosts-"))
        for name in names:
            _do("ip", "netns", "add", name)
            undo.callback(_do, "ip", "netns", "del", name)
        line = _join(names, cable)
        if line is not None:
            undo.callback(line.close)
            line.start()
        for name, address in zip(names, ADDRESSES, strict=True):
            _configure(name, address, cable)
        for name in names:
            _wait_until_up(name)
        yield Hosts(names, _launcher(Path(folder), names))
