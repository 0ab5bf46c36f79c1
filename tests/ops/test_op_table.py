"""Is everything in the table? A public function or a primitive without an entry fails here."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optable import CASES, FAMILIES, OPS, joined

import minidl
from minidl import fft, linalg, nn, ops, special
from minidl.autograd.primitive import Primitive
from minidl.nn import functional
from minidl.ops import devices
from minidl.ops.attention import joint_attention
from minidl.ops.lstm import lstm

#: These give Python bools; see tests/ops/test_op_values.py.
PYTHON_RESULTS = {"allclose", "equal", "is_complex"}

NAMESPACES = (ops, functional, linalg, fft, special)


def all_primitives() -> dict[int, tuple[str, Primitive]]:
    """Every record in minidl, by identity (two casts share a name)."""
    found = {}
    for module in pkgutil.walk_packages(minidl.__path__, "minidl."):
        if module.name.split(".")[1] not in ("autograd", "ops", "kernels", "nn", "tensor"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Primitive):
                found[id(value)] = name, value
    return found


def test_every_public_function_has_one_entry() -> None:
    names = [op.name for op in OPS]
    assert len(names) == len(set(names))
    reached = [id(op.public) for op in OPS]
    assert len(reached) == len(set(reached)), "a function under two names wants one entry"
    public = {
        id(getattr(space, name)): f"{space.__name__}.{name}"
        for space in NAMESPACES
        for name in space.__all__
    }
    missing = [
        name
        for key, name in public.items()
        if key not in reached and name.split(".")[-1] not in PYTHON_RESULTS
    ]
    assert missing == [], "public functions without an entry in tests/optable"
    assert [op.name for op in OPS if id(op.public) not in public] == [], "entries not public"


#: What helps families, or is called by another one alone.
NO_FAMILY = {"__init__", "batching", "channels", "depthwise", "devices", "gates", "lstm", "packing"}


def test_every_family_has_a_table() -> None:
    files = {path.stem for path in Path(ops.__file__).parent.glob("*.py")}
    assert files - NO_FAMILY == set(FAMILIES)


def test_every_public_function_is_in_minidl_and_has_a_docstring() -> None:
    for name in ops.__all__:
        assert getattr(minidl, name) is getattr(ops, name)
    for space in NAMESPACES:
        for name in space.__all__:
            assert getattr(space, name).__doc__, f"{space.__name__}.{name}"


@pytest.fixture(scope="module")
def reached() -> set[int]:
    """The primitives that values and first and second derivatives of the samples run."""
    seen: set[int] = set()

    def watch(record: Primitive, value: Any) -> Any:
        def call(*args: Any, **params: Any) -> Any:
            seen.add(id(record))
            return value(*args, **params)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for _, record in all_primitives().values():
            patch.setattr(record, "value", watch(record, record.value))
        for op, _, sample in CASES:
            if not sample.smooth or not sample.floats or not op.differentiable:
                with np.errstate(all="ignore"):
                    op(*sample.args, **sample.kwargs)
                continue

            def run(*values: Any, op: Any = op, sample: Any = sample) -> Any:
                args, kwargs = sample.with_floats(values)
                return joined(op(*args, **kwargs))

            def first_order(*values: Any, run: Any = run) -> Any:
                out, pull = minidl.vjp(run, *values)
                return pull(np.ones(out.shape))

            out, pull = minidl.vjp(first_order, *sample.floats)
            pull(tuple(np.ones(x.shape) for x in out))
            minidl.jvp(first_order, sample.floats, sample.floats)
        # What no public function but layers run: derivatives of an LSTM's step.
        cell = nn.LSTMCell(2, 2, dtype=np.float64)
        minidl.hessian(lambda x: np.sum(cell(x)[0]))(np.ones(2))
        # And of its course along a sequence, see tests/ops/test_lstm.py.
        states = np.ones((1, 1)), np.ones((1, 1))
        minidl.hessian(lambda w: np.sum(lstm(np.ones((2, 1, 4)), *states, w, None)[0]))(
            np.ones((4, 1))
        )
        # And of self-attention, see tests/ops/test_fused.py.
        joint_attention(np.ones((1, 2, 3)), 1)
        # The constant cast: floats to integers.
        ops.cast(np.ones(2), np.int64)
        # Constants by definition, see tests/ops/test_linalg.py.
        ops.qr(np.ones((3, 2)), "complete")
        linalg.svd(np.ones((3, 2)))
        # A gradient that is no derivative, as asked for, see tests/nn/test_embedding_settings.py.
        functional.embedding(np.array([1, 0, 1]), np.ones((2, 1)), scale_grad_by_freq=True)
    return seen


def test_every_primitive_is_reached(reached: set[int]) -> None:
    primitives = all_primitives()
    del primitives[id(devices._moved)]  # moves to a device: see tests/devices
    missed = [name for key, (name, _) in primitives.items() if key not in reached]
    assert missed == [], "primitives that no sample of tests/optable runs"


def test_the_walk_finds_primitives() -> None:
    names = {record.name for _, record in all_primitives().values()}
    assert {"add", "conv2d_weight", "max_unpool2d", "index_add", "cross_entropy"} <= names
