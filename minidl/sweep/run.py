"""A sweep from beginning to end: its study, the MLflow run above its trials, its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minidl.sweep.parent import ParentRun
from minidl.sweep.plan import Plan
from minidl.sweep.reporter import SweepReporter
from minidl.sweep.results import rows, write_results
from minidl.sweep.study import Claim, SweepStudy, reason_of, storage_errors
from minidl.sweep.turns import alone
from minidl.sweep.worker import TooManyFailuresError, Worker
from minidl.train.config import Config
from minidl.train.interruption import Interrupted
from minidl.train.tracking.mlflow_uri import redacted
from minidl.train.tracking.settings import Status


class SweepError(RuntimeError):
    """The sweep cannot go on; the message says why."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep stands; ``exit_status`` is 0, or tells a shell of a signal."""

    facts: dict[str, Any]
    exit_status: int = 0


def run_sweep(
    plan: Plan,
    *,
    reporter: SweepReporter | None = None,
    timeout: float | None = None,
    keep_open: Sequence[int] = (),
) -> SweepResult:
    """Work on a plan's study until it is done, and write what was found.

    Parameters
    ----------
    keep_open
        Descriptors that the trials' processes inherit: of a lock, say, that is to be held until
        the last of them has ended.

    Raises
    ------
    ConfigError
        The storage cannot be used, or holds the study of another config.
    SweepError
        Too many trials have failed.
    """
    reporter = SweepReporter() if reporter is None else reporter
    study = SweepStudy(plan)
    try:
        done = sum(trial.state.is_finished() for trial in study.trials())
        reporter.sweep_begins(
            study=plan.study,
            trials=plan.trials,
            done=done,
            jobs=plan.jobs,
            sampler=plan.sampler.type,
            dimensions=", ".join(dimension.path for dimension in plan.dimensions),
            goal="maximize" if plan.maximize else "minimize",
            metric=plan.metric,
            directory=str(plan.directory),
        )
        with study.turn():  # whoever comes first makes the run in MLflow
            parent = ParentRun(plan, study.uid, reopen=not study.all_done(), say=reporter.say)
        worker = Worker(
            plan,
            study,
            reporter,
            lambda config, claim: dressed(plan, config, claim, parent.run_id),
            timeout=timeout,
            keep_open=tuple(keep_open),
        )
        status: Status = "FINISHED"
        exit_status, failure = 0, None
        try:
            worker.work()
        except Interrupted as signal:
            status, exit_status = "KILLED", signal.exit_status
            reporter.say(f"interrupted by {signal}: the same command goes on with the sweep")
        except KeyboardInterrupt:
            status, exit_status = "KILLED", 130
            reporter.say("interrupted again: trials ended without a checkpoint")
        except TooManyFailuresError as error:
            status, failure = "FAILED", str(error)
        except storage_errors() as error:
            where = redacted(plan.storage)
            raise SweepError(
                f"the study in {where} cannot be reached: {reason_of(error)}"
            ) from error
        with alone(plan.directory / "locks" / "results.lock"):  # two may come to the end together
            facts = write_results(plan, study, reporter.say) | parent.facts()
            trials = study.trials()
            parent.end(None if study.others_at_work() else status, facts, len(trials))
        reporter.sweep_ends(facts, rows(plan, trials))
    finally:
        study.close()
    if failure is not None:
        raise SweepError(failure)
    return SweepResult(facts, exit_status)


def dressed(plan: Plan, config: Config, claim: Claim, parent: str | None) -> Config:
    """Return a trial's config: a directory of its own, and a run in MLflow under the sweep's."""
    changes: dict[str, Any] = {
        "trainer": config.trainer.model_copy(
            update={"run_root": str(claim.directory.parent), "name": claim.directory.name}
        )
    }
    if config.tracking is not None:
        tags = config.tracking.tags | {"sweep": plan.study, "sweep.trial": str(claim.number)}
        name = f"{plan.study}/{claim.directory.name}"
        changes["tracking"] = config.tracking.model_copy(
            update={"tags": tags, "run_name": name, "parent_run_id": parent}
        )
    return config.model_copy(update=changes)
