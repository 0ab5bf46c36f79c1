"""Augmentation: exact where it can be, SciPy's where that has it, and the same bits twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage, stats

from minidl.data import augment
from minidl.data.augment.geometry import affine


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def images(n: int = 6, c: int = 2, h: int = 9, w: int = 8) -> np.ndarray:
    return rng(1).random((n, c, h, w), np.float32)


LABELS = np.arange(6) % 3
ALL: list[Any] = [
    augment.RandomAffine(20, translate=(0.1, 0.2), scale=(0.8, 1.2), shear=10),
    augment.RandomRotation(45),
    augment.RandomShift(2),
    augment.RandomCrop(6),
    augment.RandomCrop((5, 7), padding=2),
    augment.RandomHorizontalFlip(),
    augment.RandomVerticalFlip(0.3),
    augment.ElasticTransform(20.0, 3.0),
    augment.RandomErasing(0.8),
    augment.Cutout(4),
    augment.GaussianNoise(0.1),
    augment.Mixup(0.4, num_classes=3),
    augment.CutMix(1.0, num_classes=3),
    augment.Compose([augment.RandomShift(1), augment.Cutout(3)]),
]
every = pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)


def test_every_public_class_is_here() -> None:
    public = {name for name in augment.__all__ if name != "Augment"}
    assert public == {type(change).__name__ for change in ALL}


@every
def test_same_generator_same_bits_and_inputs_left_alone(change: Any) -> None:
    x, labels = images(), LABELS.copy()
    before = x.copy()
    first, again = change(x, labels, rng(3)), change(x, labels, rng(3))
    other = change(x, labels, rng(4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert first[0].shape != other[0].shape or (first[0] != other[0]).any()
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(labels, LABELS)
    assert first[0].dtype == np.float32
    assert len(first[0]) == len(first[1]) == 6
    assert repr(change).startswith(type(change).__name__ + "(")


@pytest.mark.parametrize("seed", range(3))
def test_affine_is_that_of_scipy(seed: int) -> None:
    x = images(4, 1, 11, 10)
    draw = rng(seed)
    matrices = np.eye(2) + 0.3 * draw.normal(size=(4, 2, 2))
    shifts = draw.uniform(-2, 2, (4, 2))
    found = affine(x, matrices, shifts)
    middle = np.array([5.0, 4.5])
    for i in range(4):
        back = np.linalg.inv(matrices[i])
        offset = middle - back @ (middle + shifts[i])
        expected = ndimage.affine_transform(
            np.pad(x[i, 0], 3).astype("f8"), back, offset + 3 - back @ [3, 3], order=1
        )[3:-3, 3:-3]
        np.testing.assert_allclose(found[i, 0], expected, atol=2e-5)


def test_what_changes_nothing_changes_nothing() -> None:
    x = images()
    for change in (
        augment.RandomAffine(0.0),
        augment.RandomShift(0),
        augment.RandomCrop(),
        augment.RandomHorizontalFlip(0.0),
        augment.ElasticTransform(0.0),
        augment.RandomErasing(0.0),
        augment.GaussianNoise(0.0),
    ):
        np.testing.assert_allclose(change(x, LABELS, rng())[0], x, atol=1e-6)


def test_a_quarter_turn_and_whole_shifts_are_exact() -> None:
    x = images(1, 1, 7, 7)
    quarter = np.array([[[0.0, -1.0], [1.0, 0.0]]])
    np.testing.assert_allclose(
        affine(x, quarter, np.zeros((1, 2)))[0, 0], np.rot90(x[0, 0]), atol=1e-6
    )
    moved = affine(x, np.eye(2)[None], np.array([[2.0, -1.0]]))[0, 0]
    np.testing.assert_allclose(moved[2:, :-1], x[0, 0, :-2, 1:], atol=1e-6)
    np.testing.assert_array_equal(moved[:2], 0.0)


def test_shift_moves_whole_pixels_evenly() -> None:
    x = np.zeros((4000, 1, 5, 5), np.float32)
    x[:, 0, 2, 2] = 1.0
    moved, _ = augment.RandomShift(2)(x, np.zeros(4000), rng())
    counts = moved.sum((0, 1))
    assert counts.sum() == 4000
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


def test_flips_mirror_the_share_they_are_told() -> None:
    x = images(4000, 1, 2, 3)
    for change, axis in (
        (augment.RandomHorizontalFlip(0.3), 3),
        (augment.RandomVerticalFlip(0.3), 2),
    ):
        out, _ = change(x, np.zeros(4000), rng())
        flipped = (out == np.flip(x, axis)).all((1, 2, 3))
        assert (flipped | (out == x).all((1, 2, 3))).all()
        assert flipped.mean() == pytest.approx(0.3, abs=0.03)


def test_erasing_makes_rectangles_of_the_wanted_area() -> None:
    x = np.ones((500, 2, 30, 30), np.float32)
    change = augment.RandomErasing(1.0, scale=(0.1, 0.2), ratio=(0.5, 2.0), value=0.25)
    out, _ = change(x, np.zeros(500), rng())
    holes = out[:, 0] == 0.25
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    rows, columns = holes.any(2).sum(1), holes.any(1).sum(1)
    np.testing.assert_array_equal(rows * columns, holes.sum((1, 2)))  # rectangles
    assert holes.sum((1, 2)).min() > 0.08 * 900
    assert holes.sum((1, 2)).max() < 0.22 * 900
    half, _ = augment.RandomErasing(0.5)(x, np.zeros(500), rng())
    assert (half != 1).any((1, 2, 3)).mean() == pytest.approx(0.5, abs=0.08)


def test_cutout_makes_squares() -> None:
    x = np.ones((300, 1, 20, 20), np.float32)
    out, _ = augment.Cutout(6)(x, np.zeros(300), rng())
    areas = (out == 0).sum((1, 2, 3))
    assert areas.max() == 36
    assert areas.min() >= 9  # a quarter of it, in a corner


def test_elastic_is_that_of_scipy() -> None:
    x = images(2, 1, 12, 10)
    found, _ = augment.ElasticTransform(15.0, 2.0)(x, LABELS[:2], rng(5))
    noise = rng(5).uniform(-1.0, 1.0, (2, 2, 12, 10))
    for i in range(2):
        field = [15.0 * ndimage.gaussian_filter(noise[k, i], 2.0, mode="constant") for k in (0, 1)]
        y, columns = np.mgrid[:12, :10]
        places = np.stack([y + field[0] + 1, columns + field[1] + 1])
        padded = np.pad(x[i, 0], 1).astype("f8")
        places[0] = np.clip(places[0], 0, 13)
        places[1] = np.clip(places[1], 0, 11)
        expected = ndimage.map_coordinates(padded, places, order=1)
        np.testing.assert_allclose(found[i, 0], expected, atol=1e-4)


def test_mixup_mixes_inputs_and_targets_alike() -> None:
    x = np.eye(5, dtype=np.float32).reshape(5, 1, 1, 5)
    out, soft = augment.Mixup(0.5, num_classes=5)(x, np.arange(5), rng())
    np.testing.assert_allclose(out.reshape(5, 5), soft, atol=1e-6)
    np.testing.assert_allclose(soft.sum(1), 1.0, atol=1e-6)
    again, twice = augment.Mixup(0.5, num_classes=5)(out, soft, rng(1))
    np.testing.assert_allclose(again.reshape(5, 5), twice, atol=1e-6)


def test_cutmix_mixes_targets_by_area() -> None:
    x = np.zeros((50, 1, 8, 8), np.float32) + np.arange(50).reshape(-1, 1, 1, 1)
    out, soft = augment.CutMix(1.0, num_classes=50)(x, np.arange(50), rng())
    for i in range(50):
        for value, count in zip(*np.unique(out[i], return_counts=True), strict=True):
            assert soft[i, int(value)] == pytest.approx(count / 64, abs=1e-6)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: augment.RandomAffine(-1), "degrees must be"),
        (lambda: augment.RandomAffine(scale=(1.2, 0.8)), "from small to large"),
        (lambda: augment.RandomCrop(9)(images(), LABELS, rng()), r"size \(9, 9\) does not fit"),
        (lambda: augment.RandomErasing(ratio=(2.0, 1.0)), "from small to large"),
        (lambda: augment.RandomHorizontalFlip(1.5), "p must be"),
        (lambda: augment.Mixup(0.0, num_classes=3), "alpha must be"),
        (lambda: augment.Mixup()(images(), LABELS, rng()), "num_classes is wanted"),
        (
            lambda: augment.Cutout(2)(images()[0], LABELS, rng()),
            r"images \(N, C, H, W\) are wanted",
        ),
        (lambda: augment.CutMix(num_classes=3)(images()[0], LABELS, rng()), "images"),
    ],
)
def test_refuses(action: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        action()
