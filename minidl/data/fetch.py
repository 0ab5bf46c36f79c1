"""Downloading datasets, by way of those who already do it well.

torchvision knows MNIST's mirrors and checksums. It is imported here and nowhere else, and only when
something is to be fetched; reading what it leaves behind needs NumPy alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidl.data import cifar, vision
from minidl.data.mnist import MNIST, how_to_get_mnist, locate

#: Names that `fetch` knows: torchvision's class, its further arguments, and what reads the files.
DATASETS: dict[str, tuple[str, dict[str, Any], Callable[[Path], Any]]] = {
    "mnist": ("MNIST", {}, MNIST),
    "fashionmnist": ("FashionMNIST", {}, vision.FashionMNIST),
    "kmnist": ("KMNIST", {}, vision.KMNIST),
    "emnist": ("EMNIST", {"split": "balanced"}, vision.EMNIST),
    "usps": ("USPS", {}, vision.USPS),
    "cifar10": ("CIFAR10", {}, cifar.CIFAR10),
    "cifar100": ("CIFAR100", {}, cifar.CIFAR100),
}


def fetch(name: str, root: str | os.PathLike[str]) -> list[Path]:
    """Download a dataset into ``root``, unless torchvision finds it there already.

    Parameters
    ----------
    name
        One of ``DATASETS``: ``"mnist"``, ``"fashionmnist"``, ``"kmnist"``, ``"emnist"``,
        ``"usps"``, ``"cifar10"``, ``"cifar100"``.
    root
        Directory to download into; made where it does not exist.

    Returns
    -------
    list of Path
        The files of MNIST, or else the root; checked by reading them.

    Raises
    ------
    ValueError
        No dataset of this name can be fetched.
    ModuleNotFoundError
        torchvision is not installed; the message gives the other ways.
    RuntimeError
        The download failed, or what it left is not what it should be.
    """
    if name not in DATASETS:
        raise ValueError(f"fetch: expected a dataset among {sorted(DATASETS)}; got {name!r}")
    published, settings, reader = DATASETS[name]
    root = Path(root)
    try:
        from torchvision import datasets
    except ModuleNotFoundError as error:
        how = how_to_get_mnist(root) if name == "mnist" else "pip install 'minidl[torchvision]'"
        raise ModuleNotFoundError(
            f"fetching {published} needs torchvision ({error})\n{how}",
            name=error.name,
        ) from error
    try:
        maker = getattr(datasets, published)
        maker(str(root), download=True, **settings)
        if name == "usps":
            maker(str(root), train=False, download=True)
        reader(root)
    except Exception as error:
        # whatever network, disk and mirrors come up with: the user needs one message, with a cause
        raise RuntimeError(
            f"fetching {published} into {root} failed: {type(error).__name__}: {error}"
        ) from error
    return list(locate(root)) if name == "mnist" else [root]
