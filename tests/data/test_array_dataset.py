"""ArrayDataset and split: lengths, views, digests, and fair held-out sets."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.data import ArrayDataset, split


def dataset(n: int = 6, dtype: str = "uint8") -> ArrayDataset:
    inputs = np.arange(n * 4).reshape(n, 1, 2, 2).astype(dtype)
    return ArrayDataset(inputs, np.arange(n) % 3, classes=("a", "b", "c"), name="toy")


def test_index_slice_and_array_give_pairs_of_arrays() -> None:
    data = dataset()
    image, target = data[4]
    assert (image.shape, target.shape, int(target)) == ((1, 2, 2), (), 1)
    images, targets = data[1:3]
    assert images[:, 0, 0, 0].tolist() == [4, 8]
    assert targets.tolist() == [1, 2]
    images, targets = data[np.array([5, 0])]
    assert images[:, 0, 0, 0].tolist() == [20, 0]
    assert targets.tolist() == [2, 0]
    images, targets = data[np.array([True] + [False] * 5)]
    assert targets.tolist() == [0]
    assert len(data) == 6
    with pytest.raises(IndexError):
        data[6]


def test_targets_become_int64_and_classes_a_tuple() -> None:
    data = ArrayDataset(np.zeros((2, 3)), np.array([0, 1], np.uint8), classes=["no", "yes"])
    assert data.targets.dtype == np.int64
    assert data.classes == ("no", "yes")
    assert data.sample_shape == (3,)


def test_values_cannot_be_changed_behind_the_digest() -> None:
    data = dataset()
    with pytest.raises(ValueError, match="read-only"):
        data.inputs[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        data[1:3][1][0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


def test_the_callers_arrays_stay_writable() -> None:
    inputs, targets = np.zeros((2, 1, 2, 2), np.uint8), np.array([0, 1])
    ArrayDataset(inputs, targets)
    assert inputs.flags.writeable
    assert targets.flags.writeable


REFUSED = {
    "lengths": (
        np.zeros((3, 1, 2, 2)),
        np.zeros(2, int),
        (),
        ValueError,
        r"\(3, 1, 2, 2\).*\(2,\)",
    ),
    "2-d targets": (np.zeros((2, 2)), np.zeros((2, 1), int), (), ValueError, r"targets \(2, 1\)"),
    "0-d inputs": (np.float32(0), np.zeros(1, int), (), ValueError, r"inputs \(\)"),
    "complex targets": (np.zeros((2, 2)), np.zeros(2, complex), (), TypeError, "got complex128"),
    "classes of numbers": (np.zeros((2, 2)), np.zeros(2), ("a",), ValueError, "have no classes"),
    "int inputs": (np.zeros((2, 2), int), np.zeros(2, int), (), TypeError, "floating, got int64"),
    "no such class": (np.zeros(2), np.array([1, 2]), ("a", "b"), ValueError, "0..1.*2 at index 1"),
    "negative": (np.zeros(2), np.array([-1, 0]), (), ValueError, "at least 0; got -1 at index 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_dataset_is_refused_by_name(case: str) -> None:
    inputs, targets, classes, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as caught:
        ArrayDataset(inputs, targets, classes=classes, name="pets")
    assert str(caught.value).startswith("pets: ")


def test_digest_is_pinned() -> None:
    # recorded in experiments: a change here makes old records say that the data changed
    inputs = b"|u1 (6, 1, 2, 2)\n" + bytes(range(24))
    targets = b"<i8 (6,)\n" + struct.pack("<6q", 0, 1, 2, 0, 1, 2)
    assert dataset().digest() == hashlib.sha256(inputs + targets).hexdigest()


def test_digest_sees_values_shape_and_dtype_only() -> None:
    base = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    targets = np.array([0, 1])
    digest = ArrayDataset(base, targets).digest()
    assert len(digest) == 64
    assert digest == ArrayDataset(base, targets, name="x", classes=("a", "b")).digest()
    assert digest == ArrayDataset(np.asfortranarray(base), targets).digest()
    assert digest == ArrayDataset(base.astype(">f4"), targets.astype(np.uint8)).digest()
    for row in range(2):  # any single value counts, in the last row too
        changed = base.copy()
        changed[row, 0, 1, 1] += 1
        assert digest != ArrayDataset(changed, targets).digest()
    assert digest != ArrayDataset(base, targets[::-1]).digest()
    assert digest != ArrayDataset(base.reshape(2, 2, 2, 1), targets).digest()
    assert digest != ArrayDataset(base.astype(np.float64), targets).digest()


def test_digest_is_computed_once_and_survives_pickling(monkeypatch) -> None:
    data = dataset()
    first = data.digest()
    monkeypatch.setattr("hashlib.sha256", lambda: pytest.fail("hashed again"))
    assert data.digest() == first
    monkeypatch.undo()
    assert pickle.loads(pickle.dumps(data)).digest() == first


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    fraction=st.floats(0, 0.999),
    seed=st.integers(0, 2**40),
)
def test_split_is_a_fair_partition(sizes: list[int], fraction: float, seed: int) -> None:
    targets = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    whole = ArrayDataset(np.arange(len(targets), dtype=np.float64), targets)
    rest, held_out = split(whole, fraction=fraction, seed=seed)
    # each sample is in one part, with its target, in the order of the whole
    assert len(held_out) == round(fraction * len(whole))
    assert sorted([*rest.inputs, *held_out.inputs]) == whole.inputs.tolist()
    for part in (rest, held_out):
        assert (np.diff(part.inputs) > 0).all()
        np.testing.assert_array_equal(whole.targets[part.inputs.astype(int)], part.targets)
    # every class gives its share, to within the one sample that rounding may move
    share = len(held_out) / max(1, len(whole))
    given_up = np.bincount(held_out.targets, minlength=len(sizes))
    assert (abs(given_up - share * np.array(sizes)) < 1).all()


def test_split_is_decided_by_its_seed() -> None:
    whole = dataset(300, "float32")
    first, again = (split(whole, fraction=0.3, seed=5)[1] for _ in range(2))
    other = split(whole, fraction=0.3, seed=6)[1]
    assert first.digest() == again.digest()
    assert first.digest() != other.digest()
    assert np.bincount(first.targets).tolist() == np.bincount(other.targets).tolist() == [30] * 3


def test_split_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 the state that must not change
    split(dataset(30), fraction=0.5, seed=0)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_parts_say_where_they_come_from() -> None:
    rest, held_out = split(dataset(), fraction=0.5, seed=0)
    assert (rest.name, held_out.name) == ("toy/rest", "toy/held_out")
    assert rest.classes == held_out.classes == ("a", "b", "c")
    assert rest.inputs.dtype == np.uint8


@pytest.mark.parametrize(
    ("fraction", "seed", "message"),
    [
        (1.0, 0, "fraction must be at least 0 and below 1, got 1.0"),
        (-0.1, 0, "fraction must be"),
        (float("nan"), 0, "fraction must be"),
        (0.5, -1, "seed must be at least 0, got -1"),
    ],
)
def test_split_refuses_what_it_cannot_do(fraction: float, seed: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(dataset(), fraction=fraction, seed=seed)


def test_nothing_held_out_and_nothing_to_hold_out() -> None:
    rest, held_out = split(dataset(), fraction=0.0, seed=0)
    assert (len(rest), len(held_out)) == (6, 0)
    rest, held_out = split(dataset(0), fraction=0.5, seed=0)
    assert (len(rest), len(held_out)) == (0, 0)
    assert held_out.sample_shape == (1, 2, 2)
