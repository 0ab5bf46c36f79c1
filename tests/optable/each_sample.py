"""A test of an operation and one sample, made a test of the operation and all its samples.

The table has some six samples an operation. A test of pytest for each of them would cost more time
in collecting and reporting than in computing; so all samples' failures are gathered and told
together, with the samples' numbers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from optable import CASES
from optable.record import Op
from optable.samples import Sample


def each_sample(
    wanted: Callable[[Op, int, Sample], bool] = lambda op, number, sample: True,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test ``test(…, op, sample)`` with every sample that is wanted, an operation at a time.

    Parameters
    ----------
    wanted
        Of the operation, the sample's number and the sample: whether the test is for it.
    """
    samples: dict[Op, list[tuple[int, Sample]]] = {}
    for op, number, sample in CASES:
        if wanted(op, number, sample):
            samples.setdefault(op, []).append((number, sample))
    assert samples, "a test of no sample"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def of_all_samples(*, op: Op, **others: Any) -> None:
            failures = []
            for number, sample in samples[op]:
                try:
                    test(op=op, sample=sample, **others)
                except Exception as error:
                    error.add_note(f"{op.name}, sample {number}: {sample.args} {sample.kwargs}")
                    failures.append(error)
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise ExceptionGroup(f"{op.name}: {len(failures)} samples", failures)

        signature = inspect.signature(test)
        kept = [value for name, value in signature.parameters.items() if name != "sample"]
        # What pytest asks for the names of parameters and fixtures.
        of_all_samples.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return pytest.mark.parametrize("op", samples, ids=repr)(of_all_samples)

    return decorate
