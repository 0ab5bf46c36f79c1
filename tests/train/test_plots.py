"""The pictures: that they are drawn, from what is there, and leave nothing behind."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from minidl.train.journal import Entry
from minidl.train.reports.plots import (
    _best,
    _running_mean,
    plot_confusion,
    plot_curves,
    plots_available,
)

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None,
    reason="matplotlib is not installed (extra plot)",
)


def journal(epochs):
    rng = np.random.default_rng(0)
    for step in range(1, epochs * 20 + 1):
        loss = 2 / step + 0.1 * rng.random()
        yield Entry(
            step, 1 + step // 20, step, {"train/loss": loss, "train/accuracy": 1 - loss / 3}
        )
        if step % 20 == 0:
            metrics = {"val/loss": 3 / step, "val/accuracy": 1 - 1 / step, "lr": 0.1}
            yield Entry(step, step // 20, step, metrics)


def pixels(path):
    from matplotlib.image import imread

    return imread(path)


def has_colour(picture, hexadecimal):
    wanted = np.array([int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool((np.abs(picture[..., :3] - wanted).max(axis=-1) < 0.15).any())


def test_availability_is_asked_without_an_import(monkeypatch):
    program = (
        "import sys, minidl.train.reports.plots as plots; plots.plots_available(); "
        "sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not plots_available()


@needs_matplotlib
@pytest.mark.parametrize("epochs", [0, 1, 5])
def test_curves_of_any_length(tmp_path, epochs):
    path = tmp_path / "curves.png"
    plot_curves(list(journal(epochs)), path)
    picture = pixels(path)
    assert picture.shape == (440, 1100, 4)
    assert has_colour(picture, "#4878a8") == (epochs > 0)
    assert has_colour(picture, "#c8501e") == (epochs > 0)


@needs_matplotlib
def test_test_values_and_odd_ones(tmp_path):
    entries = [
        Entry(0, 0, 0, {"train/loss": float("nan"), "train/accuracy": 0.1}),
        Entry(1, 1, 1, {"train/loss": 0.4, "val/loss": float("inf"), "val/accuracy": 0.4}),
        Entry(2, 1, 1, {"test/loss": 0.3, "test/accuracy": 0.9}),
    ]
    plot_curves(entries, tmp_path / "a.png", monitor="val/loss")
    plot_curves(entries[:2], tmp_path / "b.png")
    assert has_colour(pixels(tmp_path / "a.png"), "#2e7d32")
    assert not has_colour(pixels(tmp_path / "b.png"), "#2e7d32")


def test_the_best_epoch_follows_the_monitor():
    entries = [
        Entry(0, 1, 10, {"val/loss": 0.3, "val/accuracy": 0.90}),
        Entry(0, 2, 20, {"val/loss": 0.2, "val/accuracy": 0.95}),
        Entry(0, 3, 30, {"val/loss": 0.1, "val/accuracy": 0.93}),
        Entry(0, 4, 40, {"val/loss": float("nan"), "val/accuracy": 0.95}),
    ]
    assert _best(entries, "val/accuracy") is entries[1]  # the first of equals
    assert _best(entries, "val/loss") is entries[2]
    assert _best(entries, "val/other") is None
    errors = [Entry(0, 1, 10, {"val/mae": 0.3}), Entry(0, 2, 20, {"val/mae": 0.2})]
    assert _best(errors, "val/mae") is errors[1]


def test_the_running_mean_keeps_a_line_and_the_total_of_noise():
    np.testing.assert_allclose(_running_mean(np.full(200, 3.0)), 3.0)
    line = np.arange(200.0)
    np.testing.assert_allclose(_running_mean(line)[5:-5], line[5:-5])
    assert _running_mean(np.array([])).shape == (0,)
    np.testing.assert_array_equal(_running_mean(np.array([1.0, 5.0])), [1.0, 5.0])


@needs_matplotlib
@pytest.mark.parametrize("classes", [1, 2, 10, 100])
def test_confusion_of_any_size(tmp_path, classes):
    matrix = np.diag(np.arange(classes))  # the first class has no image at all
    path = tmp_path / "confusion.png"
    plot_confusion(matrix, [f"class {index}" for index in range(classes)], path)
    picture = pixels(path)
    assert has_colour(picture, "#08306b") == (classes > 1)  # the darkest blue: all recognized


@needs_matplotlib
def test_a_matrix_of_another_shape_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"2 classes need a matrix of shape \(2, 2\), got \(3, 3\)"
    ):
        plot_confusion(np.eye(3, dtype=int), ["a", "b"], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@needs_matplotlib
def test_pyplot_is_left_alone(tmp_path):
    program = (
        "import sys; from minidl.train.reports.plots import *\n"
        f"plot_confusion([[1]], ['a'], {str(tmp_path / 'a.png')!r}); plot_curves([], "
        f"{str(tmp_path / 'b.png')!r})\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
