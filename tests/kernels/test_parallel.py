"""A batch split over threads: the same bits with any number of them, and no work is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import threads
from minidl.kernels import (
    attention,
    conv,
    depthwise,
    first_layer,
    gelu,
    norm,
    parallel,
    pool,
    rectifying,
    rows,
    selection,
)
from minidl.kernels.parallel import Split


@pytest.fixture
def restored() -> Iterator[None]:
    before = threads._Chosen.number, [library.get_num_threads() for library in threads._blas()]
    yield
    threads._Chosen.number = before[0]
    for library, number in zip(threads._blas(), before[1], strict=True):
        library.set_num_threads(number)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch, restored: None) -> None:
    """Split small arrays too."""
    monkeypatch.setattr(parallel, "WORTHWHILE", 0)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


STEP = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
TWO = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1)}
TILES: dict[str, Any] = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}


def _pooled(x: np.ndarray) -> list[np.ndarray]:
    top = pool.max_pool2d(x, **TILES)
    mean = pool.avg_pool2d(x, **TILES, count_include_pad=True)
    back = pool.spread(mean, image=x.shape[2:], **TILES, count_include_pad=True)
    return [top, pool.unpool(top, x, top, **TILES), mean, back]


def _convolved(channels: int, outputs: int, kernel: int, how: dict[str, Any]) -> list[np.ndarray]:
    x, weight = images(32, channels, 12, 12), images(outputs, channels, kernel, kernel)
    made = conv.conv2d(x, weight, images(outputs), **how)
    rest = {"size": (kernel, kernel), **how}
    return [
        made,
        conv.conv2d_weight(made, x, **rest),
        conv.conv2d_input(made, weight, size=(12, 12), **how),
    ]


def _normalized(x: np.ndarray) -> list[np.ndarray]:
    how: dict[str, Any] = {"length": x.shape[1], "eps": 1e-5}
    given = x, x[0], x[1], rows.moments(x, **how)
    back = (function(x, *given, **how) for function in (rows.by_input, rows.by_weight))
    return [given[-1], rows.layer_norm(*given, **how), *back]


def _rectified(x: np.ndarray) -> list[np.ndarray]:
    top, here, back = rectifying.relu(x), x.copy(), x.copy()
    made = [rectifying.relu(here, here), rectifying.relu_gradient(back, top, back)]
    return [top, rectifying.relu_gradient(x, top), *made]


def _attended(joint: np.ndarray) -> list[np.ndarray]:
    how: dict[str, Any] = {"heads": 2, "scale": 0.3}
    weights = attention.probabilities(joint, **how)
    found = attention.attend(joint, weights, **how)
    soft = rows.softmax(weights)
    back = rows.softmax_gradient(weights, soft)
    return [weights, found, attention.by_joint(found, joint, weights, **how), soft, back]


def _batch_normalized(x: np.ndarray) -> list[np.ndarray]:
    given = x, images(x.shape[1]), None, norm.moments(x)
    sums = norm.gradient_sums(x, x, given[-1])
    made = norm.batch_norm(*given, eps=1e-5)
    return [given[-1], sums, made, norm.by_input(x, *given, sums, eps=1e-5), norm.channel_sum(x)]


def _each_channel() -> list[np.ndarray]:
    x, weight = images(10, 6, 12, 12), images(6, 1, 3, 3)
    made = depthwise.conv2d(x, weight, **STEP)
    return [
        made,
        depthwise.conv2d_input(made, weight, size=(12, 12), **STEP),
        depthwise.conv2d_weight(made, x, size=(3, 3), **STEP),
    ]


def _noted(x: np.ndarray) -> list[np.ndarray]:
    packed = first_layer.max_pool2d(x)
    top = pool.max_pool2d(x, **TILES)
    return [packed, first_layer.unpool(top, packed, image=x.shape)]


CASES = {
    "patches": lambda: _convolved(5, 4, 3, STEP),
    "patches, stride 2": lambda: _convolved(16, 8, 3, TWO),
    "few channels": lambda: _convolved(1, 8, 3, STEP),
    "one channel": lambda: _convolved(1, 16, 3, STEP),
    "pixels": lambda: _convolved(6, 4, 1, STEP | {"padding": (0, 0)}),
    "depthwise": _each_channel,
    "Winograd": lambda: _convolved(8, 16, 3, STEP),
    "pooling that notes places": lambda: _noted(
        conv.channels_last(images(12, 6, 8, 8)).transpose(0, 3, 1, 2)
    ),
    "pooling": lambda: _pooled(conv.channels_last(images(10, 6, 8, 8)).transpose(0, 3, 1, 2)),
    "batch norm": lambda: _batch_normalized(images(10, 6, 8, 8)),
    "layer norm": lambda: _normalized(images(1100, 40)),
    "GELU": lambda: [gelu.gelu(images(9, 70)), gelu.gelu_gradient(images(9, 70), images(9, 70))],
    "ReLU": lambda: _rectified(images(7, 5, 4, 9)),
    "attention": lambda: _attended(images(21, 40, 24)),
    "channels": lambda: [norm.scaled(images(9, 6, 5, 7), *images(2, 6), None, rectify=True)],
}

#: What is split in its compiled version alone.
COMPILED = (
    "GELU",
    "ReLU",
    "batch norm",
    "channels",
    "depthwise",
    "layer norm",
    "pooling that notes places",
    "pooling",
)


@pytest.mark.parametrize("kernels", ["numpy", "compiled"])
@pytest.mark.parametrize("case", CASES)
def test_bits_do_not_hang_on_the_number_of_threads(
    case: str, kernels: str, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels == "compiled":
        pytest.importorskip("numba", reason="compiled kernels want numba")
    monkeypatch.setattr(conv, "BLOCK_BYTES", 1 << 14)  # several blocks a group
    seen: list[int] = []
    each = parallel._side_by_side

    def counted(work: Any, how: Split) -> None:
        seen.append(how.seats)
        each(work, how)

    monkeypatch.setattr(parallel, "_side_by_side", counted)
    found = {}
    with selection.use_kernels(kernels):
        for number in (1, 2, 3, 4):
            minidl.set_num_threads(number)
            found[number] = [array.tobytes() for array in CASES[case]()]
    assert found[1] == found[2] == found[3] == found[4]
    if case != "pixels" and (kernels == "compiled" or case not in COMPILED):
        assert {2, 3, 4} <= set(seen)


@pytest.mark.parametrize(
    ("count", "elements", "least", "groups", "seats"),
    [
        (128, 1 << 20, 1, [(0, 32), (32, 64), (64, 96), (96, 128)], 3),
        (128, 1 << 10, 1, [(0, 32), (32, 64), (64, 96), (96, 128)], 1),  # too little for threads
        (128, 1 << 20, 64, [(0, 64), (64, 128)], 2),
        (128, 1 << 20, 65, [(0, 128)], 1),
        (3, 1 << 20, 1, [(0, 1), (1, 2), (2, 3)], 3),
        (0, 0, 1, [(0, 0)], 1),
    ],
)
def test_groups(
    count: int, elements: int, least: int, groups: list[Any], seats: int, restored: None
) -> None:
    minidl.set_num_threads(3)
    how = parallel.split(count, elements, least)
    assert [(group.start, group.stop) for group in how.groups] == groups
    assert how.seats == seats


def four() -> Split:
    return parallel.split(4, 1 << 30)


def test_threads_really_work_side_by_side(restored: None) -> None:
    minidl.set_num_threads(3)
    meeting = threading.Barrier(3, timeout=20)  # passed by three at a time or not at all
    seats: set[int] = set()

    def work(number: int, seat: int) -> None:
        if number < 3:
            meeting.wait()
        seats.add(seat)

    parallel.each(work, four())
    assert seats == {0, 1, 2}


def test_blas_has_one_thread_meanwhile_and_its_own_again_afterwards(restored: None) -> None:
    minidl.set_num_threads(2)
    assert threads._blas(), "NumPy's BLAS is not one that threadpoolctl knows"
    seen: list[int] = []
    parallel.each(lambda *_: seen.append(threads._blas()[0].get_num_threads()), four())
    assert seen == [1, 1, 1, 1]
    assert threads._blas()[0].get_num_threads() == 2


def test_an_error_is_raised_when_all_have_ended(restored: None) -> None:
    minidl.set_num_threads(2)
    ended: list[int] = []

    def work(number: int, seat: int) -> None:
        if number == 0:
            raise ArithmeticError("group 0")
        ended.append(number)

    with pytest.raises(ArithmeticError, match="group 0"):
        parallel.each(work, four())
    assert sorted(ended) == [1, 2, 3]
    parallel.each(lambda number, seat: ended.append(number), four())  # and the next one works
    assert len(ended) == 7


def test_a_split_inside_a_group_runs_on_its_own_thread(restored: None) -> None:
    minidl.set_num_threads(2)
    names: list[tuple[str, str]] = []

    def outer(number: int, seat: int) -> None:
        outside = threading.current_thread().name
        inner = lambda *_: names.append((outside, threading.current_thread().name))
        parallel.each(inner, four())

    parallel.each(outer, four())
    assert len(names) == 16
    assert all(outside == inside for outside, inside in names)


def test_threads_see_context_variables(restored: None) -> None:
    minidl.set_num_threads(2)
    meeting, modes = threading.Barrier(2, timeout=20), []

    def work(number: int, seat: int) -> None:
        if number < 2:
            meeting.wait()
        modes.append((selection._override.get(), np.geterr()["over"]))

    with selection.use_kernels("numpy"), np.errstate(over="raise"):
        parallel.each(work, four())
    assert modes == [("numpy", "raise")] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_threads_of_its_own(restored: None) -> None:
    minidl.set_num_threads(2)
    parallel.each(lambda *_: None, four())
    child = os.fork()
    if not child:
        status = 1
        try:
            meeting = threading.Barrier(2, timeout=20)
            parallel.each(lambda number, _: number < 2 and meeting.wait(), four())
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_number_of_threads(restored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    minidl.set_num_threads(3)
    assert minidl.get_num_threads() == 3
    assert [library.get_num_threads() for library in threads._blas()] == [3] * len(threads._blas())
    for wrong in (0, -1, 1.5, True, "2", None):
        with pytest.raises(ValueError, match="set_num_threads: a whole number from 1 on"):
            minidl.set_num_threads(wrong)  # type: ignore[arg-type]
    assert minidl.get_num_threads() == 3


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"OPENBLAS_NUM_THREADS": "5"}, 5),
        ({"OPENBLAS_NUM_THREADS": "5", "OMP_NUM_THREADS": "2"}, 5),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "many", "MKL_NUM_THREADS": "4"}, 4),
        ({}, threads.share({}, threads.cpu_quota())),
    ],
)
def test_number_of_threads_by_default(
    variables: dict[str, str], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*threads.VARIABLES, *threads.NEIGHBOURS):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert threads._by_default.__wrapped__() == wanted
