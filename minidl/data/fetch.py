"""Downloading datasets, by way of those who already do it well.

torchvision knows MNIST's mirrors and checksums. It is imported here and nowhere else, and only when
something is to be fetched; reading what it leaves behind needs NumPy alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from minidl.data.mnist import MNIST, how_to_get_mnist, locate


def fetch(name: str, root: str | os.PathLike[str]) -> list[Path]:
    """Download a dataset into ``root``, unless torchvision finds it there already.

    Parameters
    ----------
    name
        ``"mnist"``.
    root
        Directory to download into; made where it does not exist.

    Returns
    -------
    list of Path
        The files that ``MNIST(root)`` reads, checked by reading them.

    Raises
    ------
    ValueError
        No dataset of this name can be fetched.
    ModuleNotFoundError
        torchvision is not installed; the message gives the other ways.
    RuntimeError
        The download failed, or what it left is not what it should be.
    """
    if name != "mnist":
        raise ValueError(f"fetch: expected a dataset among 'mnist'; got {name!r}")
    root = Path(root)
    try:
        from torchvision import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"fetching MNIST needs torchvision ({error})\n{how_to_get_mnist(root)}",
            name=error.name,
        ) from error
    try:
        datasets.MNIST(str(root), download=True)
        MNIST(root)
    except Exception as error:
        # whatever network, disk and mirrors come up with: the user needs one message, with a cause
        raise RuntimeError(
            f"fetching MNIST into {root} failed: {type(error).__name__}: {error}"
        ) from error
    return list(locate(root))
