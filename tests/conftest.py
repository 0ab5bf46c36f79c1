"""Makes `optable` importable from every test directory, and holds what all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from minidl.autograd.primitive import recording_floor


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """A test must not leave recording switched off for the next one."""
    before = recording_floor.get()
    yield
    assert recording_floor.get() == before, "a test left no_grad() open"


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, to compare with; one thread, as the arrays are tiny."""
    module = pytest.importorskip("torch", reason="comparison with PyTorch: torch is not installed")
    module.set_num_threads(1)
    return module
