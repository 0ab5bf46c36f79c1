"""Is everything in the table? A public function or a primitive without an entry fails here."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
from optable import CASES, OPS, first

import minidl
from minidl import ops
from minidl.autograd.primitive import Primitive
from minidl.nn import functional


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
    public = {*ops.__all__, *functional.__all__}
    assert public - set(names) == set(), "public functions without an entry in tests/optable.py"
    assert set(names) - public == set(), "entries for functions that are not public"


def test_every_public_function_is_in_minidl_and_has_a_docstring() -> None:
    for name in ops.__all__:
        assert getattr(minidl, name) is getattr(ops, name)
        assert getattr(ops, name).__doc__, name


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
                return first(op(*args, **kwargs))

            def first_order(*values: Any, run: Any = run) -> Any:
                out, pull = minidl.vjp(run, *values)
                return pull(np.ones(out.shape))

            out, pull = minidl.vjp(first_order, *sample.floats)
            pull(tuple(np.ones(x.shape) for x in out))
            minidl.jvp(first_order, sample.floats, sample.floats)
        # The constant cast: floats to integers.
        ops.cast(np.ones(2), np.int64)
    return seen


def test_every_primitive_is_reached(reached: set[int]) -> None:
    missed = [name for key, (name, _) in all_primitives().items() if key not in reached]
    assert missed == [], "primitives that no sample of tests/optable.py runs"


def test_the_walk_finds_primitives() -> None:
    names = {record.name for _, record in all_primitives().values()}
    assert {"add", "conv2d_weight", "max_unpool2d", "index_add", "cross_entropy"} <= names
