"""A cable with a length: two Ethernet devices whose frames reach each other a fixed time later.

`tc`'s own means for this is the discipline netem, which many small kernels are built without
(virtual machines of a cloud, this one included). So the two ends are TAP devices and this thread is
the cable: it reads a frame at one end, keeps it until it is due, and writes it at the other. Order
is kept, nothing is lost; bandwidth is not its business (`tc`'s token bucket on the devices sees to
that). It takes the processor for some ten microseconds a frame, hence the large frames.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import select
import struct
import threading
import time

#: Bytes of a frame's contents.
MTU = 9000
_TUNSETIFF = 0x400454CA
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000


def open_tap(name: str) -> int:
    """Make a TAP device and return its file; it goes when the file is closed.

    Raises
    ------
    OSError
        There is no /dev/net/tun, or no right to it.
    """
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_WITHOUT_HEADER))
    except OSError:
        os.close(file)
        raise
    return file


class DelayLine:
    """Carry frames between two TAP devices, each ``delay`` seconds after it came."""

    def __init__(self, names: tuple[str, str], *, delay: float) -> None:
        self.delay = delay
        self.files: list[int] = []
        try:
            self.files += [open_tap(name) for name in names]
            self._wake = os.pipe()
        except OSError:
            for file in self.files:
                os.close(file)
            raise
        self._thread = threading.Thread(target=self._carry, name="delay line", daemon=True)

    def start(self) -> None:
        """Begin to carry; the devices may be in other namespaces by now."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and let the devices go."""
        os.close(self._wake[1])
        if self._thread.is_alive():
            self._thread.join()
        for file in (*self.files, self._wake[0]):
            os.close(file)

    def _carry(self) -> None:
        # Ahead of the ranks, which never sleep and would otherwise make the cable longer.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        first, second = self.files
        other = {first: second, second: first}
        flying: collections.deque[tuple[float, int, bytes]] = collections.deque()
        while True:
            wait = max(0.0, flying[0][0] - time.monotonic()) if flying else None
            readable = select.select([*self.files, self._wake[0]], [], [], wait)[0]
            if self._wake[0] in readable:
                return
            for file in readable:
                self._take(file, other[file], flying)
            now = time.monotonic()
            while flying and flying[0][0] <= now:
                _, to, frame = flying.popleft()
                with contextlib.suppress(OSError):  # the device is down: so is a cut cable
                    os.write(to, frame)

    def _take(
        self, file: int, to: int, flying: collections.deque[tuple[float, int, bytes]]
    ) -> None:
        for _ in range(16):  # then the other end gets its turn
            try:
                frame = os.read(file, MTU + 64)
            except OSError:  # nothing more for now
                return
            flying.append((time.monotonic() + self.delay, to, frame))
