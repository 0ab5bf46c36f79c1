"""Where the time of a training goes: some steps of a config, profiled.

The steps are those that the training would take, but they are no run: the profiler slows them a
little, and throughput and times of a run are to be those of the training. Some steps go first, so
that caches are warm and kernels compiled, and as many as are profiled run without it, so that one
sees what the profiler costs. A validation and a checkpoint (in a directory that goes again) tell
what an epoch spends beside its steps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from minidl.arguments import Count, Size, checked
from minidl.profiling import Profile, phase, profile
from minidl.train.build import Experiment, build
from minidl.train.checkpoint import save_checkpoint
from minidl.train.config import Config
from minidl.train.metrics import evaluate
from minidl.train.steps import Batches, Steps


@dataclass(frozen=True)
class TrainingProfile:
    """What `profile_training` found. Times are in seconds.

    ``plain`` is the time of one step without the profiler; ``validation`` that of all validation
    samples (None where there are none), ``checkpoint`` that of one checkpoint.
    """

    profile: Profile
    steps: int
    samples: int
    plain: float
    steps_per_epoch: int
    validation: float | None
    checkpoint: float

    def text(self) -> str:
        """Return the tables, of one step, and what an epoch is made of."""
        profiled = self.profile.seconds / self.steps
        head = (
            f"{self.steps} steps of {self.samples / self.steps:,.4g} samples: "
            f"{1e3 * profiled:.2f} ms a step profiled, {1e3 * self.plain:.2f} ms without\n"
            "Below: one step. Rows in [] are time in none of the other rows."
        )
        tables = (
            self.profile.by_phase(per=self.steps),
            self.profile.by_layer(per=self.steps),
            self.profile.by_operation(per=self.steps),
        )
        return "\n\n".join([head, *map(str, tables), self._epoch()])

    def _epoch(self) -> str:
        parts = {"steps": self.plain * self.steps_per_epoch}
        if self.validation is not None:
            parts["validation"] = self.validation
        parts["checkpoint"] = self.checkpoint
        whole = sum(parts.values())
        shown = ", ".join(
            f"{name} {seconds:.3f} s ({100 * seconds / whole:.1f} %)"
            for name, seconds in parts.items()
        )
        return f"an epoch of {self.steps_per_epoch:,} steps, estimated: {whole:.2f} s: {shown}"

    def write(self, directory: Path) -> list[Path]:
        """Write ``tables.txt`` and ``trace.json`` into a directory; return their paths."""
        directory.mkdir(parents=True, exist_ok=True)
        tables, trace = directory / "tables.txt", directory / "trace.json"
        tables.write_text(self.text() + "\n", encoding="utf-8")
        self.profile.chrome_trace(trace)
        return [tables, trace]


@checked
def profile_training(config: Config, *, steps: Size = 20, warm_up: Count = 5) -> TrainingProfile:
    """Take some steps of a training and profile them; writes nothing.

    Parameters
    ----------
    steps
        How many optimizer steps to profile, across epochs if need be.
    warm_up
        How many to take before.

    Raises
    ------
    ConfigError
        Something the config names cannot be made.
    ArithmeticError
        The loss became no finite number.
    """
    experiment = build(config)
    # Operations are seen one by one where no program replays them.
    runner = Steps(experiment, config.trainer.model_copy(update={"compile": False}))
    with closing(runner.batches()) as batches:
        for _ in range(warm_up):
            runner.take(next(batches))
        began = perf_counter()
        for _ in range(steps):
            runner.take(next(batches))
        plain = (perf_counter() - began) / steps
        with profile(experiment.model) as found:
            samples = sum(_step(runner, batches) for _ in range(steps))
    with profile(experiment.model) as beside:
        share = _validate(experiment, steps)
        with tempfile.TemporaryDirectory() as directory, phase("checkpoint"):
            save_checkpoint(
                Path(directory),
                model=experiment.model,
                optimizer=experiment.optimizer,
                rng=experiment.rng,
                progress={},
            )
    times = {row.name: row.whole for row in beside.by_phase().rows}
    return TrainingProfile(
        profile=found,
        steps=steps,
        samples=samples,
        plain=plain,
        steps_per_epoch=experiment.steps_per_epoch,
        validation=times["validation"] / share if share else None,
        checkpoint=times["checkpoint"],
    )


def _step(runner: Steps, batches: Iterator[Batches]) -> int:
    """Take one step, with a name for each part that is no layer; return its samples."""
    with phase("step"):
        with phase("data"):
            batch = next(batches)
        runner.take(batch)
    return sum(len(inputs) for inputs, _ in batch)


class _Enough(Exception):  # noqa: N818 - no error
    """As many batches as wanted have been seen."""


def _validate(experiment: Experiment, most: int) -> float:
    """Evaluate at most so many validation batches; return which share of all that is."""
    loader = experiment.data.val
    if loader is None:
        return 0.0
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen == most:
            raise _Enough

    with phase("validation"), suppress(_Enough):
        evaluate(experiment, loader, part="val", on_batch=count)
    return seen / len(loader)
