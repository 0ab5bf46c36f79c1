"""Many small images in one picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.train.config import load_config
from minidl.train.data_parts import build_data


def contact_sheet(
    rows: Sequence[Array], path: str | os.PathLike[str], *, titles: Sequence[str] = ()
) -> None:
    """Draw rows of images and save the PNG at ``path``.

    Parameters
    ----------
    rows
        Arrays ``(N, C, H, W)``, C being 1 or 3, pixels from 0 to 1 (others are held there).
    titles
        A word above each image, row by row; or none.

    Raises
    ------
    ValueError
        An array is no batch of images.
    """
    from matplotlib.figure import Figure

    for images in rows:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"contact_sheet: images (N, 1 or 3, H, W) wanted, got {images.shape}")
    columns = max(len(images) for images in rows)
    height = 0.75 if titles else 0.6
    figure = Figure(figsize=(0.6 * columns, height * len(rows)), dpi=110)
    grid: Any = figure.subplots(len(rows), columns, squeeze=False)
    words = iter(titles)
    for axes, images in zip(grid, rows, strict=True):
        for i, place in enumerate(axes):
            place.axis("off")
            if i < len(images):
                pixels = np.clip(images[i], 0.0, 1.0).transpose(1, 2, 0)
                gray = pixels.shape[2] == 1
                place.imshow(pixels[..., 0] if gray else pixels, cmap="gray", vmin=0.0, vmax=1.0)
                if titles:
                    place.set_title(next(words, ""), fontsize=7, pad=2)
    figure.subplots_adjust(
        0.01, 0.01, 0.99, 0.92 if titles else 0.99, 0.06, 0.3 if titles else 0.06
    )
    figure.savefig(os.fspath(path), format="png")


def training_sheet(path: Path, overrides: Sequence[str], output: Path, *, rows: int = 6) -> str:
    """Draw the first training samples of a config's first epoch; return a line that says what.

    Raises
    ------
    ConfigError
        The config is wrong, or its samples are no images.
    ModuleNotFoundError
        matplotlib is not installed.
    """
    config = load_config(path, overrides)
    data = build_data(config, normalize=False)
    if len(data.sample_shape) != 3 or data.sample_shape[0] not in (1, 3):
        raise config.problem(("data",), f"samples of shape {data.sample_shape} are no pictures")
    images, titles = [], []
    for inputs, targets in data.train:
        images.append(inputs.numpy())
        titles.append(targets.numpy())
        if sum(map(len, images)) >= 16 * rows:
            break
    pixels, labels = np.concatenate(images)[: 16 * rows], np.concatenate(titles)[: 16 * rows]
    words = [_word(label, data.classes) for label in labels]
    parts = [pixels[i : i + 16] for i in range(0, len(pixels), 16)]
    contact_sheet(parts, output, titles=words)
    return f"{output}: {len(pixels)} samples of {data.name}, as they come in the first epoch"


def _word(label: Any, classes: Sequence[str]) -> str:
    if np.ndim(label) == 0:
        return str(classes[int(label)]) if classes else f"{label:.3g}"
    first, second = np.argsort(label)[::-1][:2]
    if label[second] < 0.01:
        return str(classes[first])
    return f"{classes[first]} {label[first]:.1f} {classes[second]}"
