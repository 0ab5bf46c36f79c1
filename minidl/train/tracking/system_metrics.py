"""How busy the machine is, under the names that MLflow's "System metrics" page looks for.

MLflow's own monitor brings a thread of its own, which keeps talking to a dead server and blocks
when it is stopped; a few numbers from psutil, sent with the other points, need neither.
"""

from __future__ import annotations

import importlib.util

_MEGABYTE = 1e6


class SystemSampler:
    """Reads the processor and the memory; psutil is imported by the constructor.

    Parameters
    ----------
    process
        Whose memory is read; by default this one's.
    """

    def __init__(self, process: int | None = None) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process(process)
        psutil.cpu_percent()  # the first call has no interval to speak of, and returns 0

    def sample(self) -> dict[str, float]:
        """Return the use of the processor since the last call (percent), and of memory now."""
        memory = self._psutil.virtual_memory()
        return {
            "system/cpu_utilization_percentage": float(self._psutil.cpu_percent()),
            "system/system_memory_usage_megabytes": memory.used / _MEGABYTE,
            "system/system_memory_usage_percentage": float(memory.percent),
            "system/process_memory_usage_megabytes": self._process.memory_info().rss / _MEGABYTE,
        }


def psutil_available() -> bool:
    """Whether psutil is installed (it is not imported)."""
    return importlib.util.find_spec("psutil") is not None
