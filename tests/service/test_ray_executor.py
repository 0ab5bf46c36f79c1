"""Attempts on a real Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from executor_conformance import ExecutorConformance, NewExecutor
from ray_head import RAY_MARKS, RayHead

from minidl.service.executors.ray import RayExecutor

pytest_plugins = ["ray_head"]
pytestmark = [*RAY_MARKS, pytest.mark.slow]


@pytest.fixture
def new_ray(ray_head: RayHead) -> Iterator[NewExecutor]:
    """Make executors on the cluster."""
    made = []

    def make() -> RayExecutor:
        made.append(RayExecutor(ray_head.jobs(), python=sys.executable, poll_seconds=0.2))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


class TestSharedDirectory(ExecutorConformance):
    """Job directories on a disk that the cluster's machines share with the service."""

    @pytest.fixture
    def new_executor(self, new_ray: NewExecutor) -> NewExecutor:
        return new_ray
