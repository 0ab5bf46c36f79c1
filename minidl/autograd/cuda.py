"""CUDA devices, by way of CuPy: ``device: cuda``.

CuPy's arrays speak NumPy's protocols, so nothing else in minidl knows of it. It is imported when
the first array is moved to a GPU, never by ``import minidl``.
"""

from __future__ import annotations

import importlib
from typing import Any

from minidl.autograd.arrays import Array

_INSTALL = "pip install 'minidl[cuda]' (that is cupy-cuda12x, for CUDA 12)"


class Cuda:
    """The GPUs that CuPy finds.

    Raises
    ------
    RuntimeError
        CuPy is not installed or does not work here, or there is no GPU.
    """

    def __init__(self) -> None:
        try:
            self.cupy: Any = importlib.import_module("cupy")
        except ModuleNotFoundError as error:
            raise RuntimeError(f"device: cuda wants CuPy, which is not here: {_INSTALL}") from error
        except ImportError as error:  # a library of CUDA that it wants is missing
            raise RuntimeError(
                f"device: cuda wants CuPy, which does not work here: {error}; {_INSTALL}"
            ) from error
        self.array: type = self.cupy.ndarray
        try:
            self.count = int(self.cupy.cuda.runtime.getDeviceCount())
        except Exception as error:  # CUDARuntimeError, whose class is found only by importing it
            raise RuntimeError(f"device: cuda, but CuPy finds no GPU here: {error}") from error

    def check(self, index: int | None) -> None:
        """Raise where there is no such GPU.

        Raises
        ------
        RuntimeError
            There are fewer.
        """
        if (index or 0) >= self.count:
            raise RuntimeError(
                f"device: cuda:{index or 0}, but CuPy finds {self.count} GPU(s), counted from 0"
            )

    def put(self, array: Array, index: int | None) -> Any:
        """Copy an ndarray to a GPU, which becomes the present one: kernels run where arrays lie."""
        if index is not None:
            self.cupy.cuda.Device(index).use()
        return self.cupy.asarray(array)

    def get(self, array: Any) -> Array:
        """Copy an array to the host."""
        found: Array = array.get()
        return found

    def index(self, array: Any) -> int | None:
        """Return the number of an array's GPU."""
        return int(array.device.id)
