"""One worker of a sweep: takes trials, trains each in its own process, writes down how they end.

A trial that crashes, diverges or is killed ends itself and nothing else. A first Ctrl-C (or
SIGTERM) has all trainings write a checkpoint and end, and leaves their trials to be gone on with;
a second one ends them at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from minidl.sweep.plan import Plan
from minidl.sweep.reporter import SweepReporter
from minidl.sweep.study import BEAT_SECONDS, Claim, LostError, SweepStudy
from minidl.sweep.trial import Ending, RunningTrial
from minidl.train.config import Config
from minidl.train.interruption import Interrupted, Interruption

POLL_SECONDS = 0.1
CLAIM_SECONDS = 1.0
GRACE_SECONDS = 60.0
#: How often a trial that was killed is taken up again: a machine short of memory kills it anew.
RETRIES = 1


class TooManyFailuresError(Exception):
    """So many trials in a row have failed that the config, and not chance, is to blame."""


@dataclass
class Worker:
    """A worker of one study, on this machine.

    ``dress`` makes of a variant the config that its trial is trained with: where it is written and
    how it is tracked. ``timeout`` is in seconds: after it no trial is begun.
    """

    plan: Plan
    study: SweepStudy
    reporter: SweepReporter
    dress: Callable[[Config, Claim], Config]
    timeout: float | None = None
    failures: int = 0
    running: list[RunningTrial] = field(default_factory=list)
    _kills: dict[int, int] = field(default_factory=dict)
    _next_beat: float = 0.0
    _next_claim: float = 0.0
    _waiting_told: bool = False

    def work(self) -> None:
        """Work until no trial is left to do, here or elsewhere, or until the time is over.

        Raises
        ------
        Interrupted
            A signal came; the trials have been told, and can be gone on with.
        TooManyFailuresError
            The last ``stop_after_failures`` trials have all failed.
        """
        end = time.monotonic() + self.timeout if self.timeout is not None else float("inf")
        with Interruption() as interruption:
            try:
                while True:
                    interruption.check()
                    self._look_after()
                    late = time.monotonic() >= end
                    if not late:
                        self._begin()
                    if not self.running and (late or self._nothing_left()):
                        return
                    time.sleep(POLL_SECONDS)
            except (Interrupted, TooManyFailuresError):
                self._wind_up()
                raise
            finally:
                for trial in self.running:  # a second signal, or a mistake of ours
                    trial.kill()
                    self.study.release(trial.claim)

    # ---- beginning ----------------------------------------------------------------------------

    def _begin(self) -> None:
        while len(self.running) < self.plan.jobs and time.monotonic() >= self._next_claim:
            claim = self.study.claim()
            if claim is None:
                self._next_claim = time.monotonic() + CLAIM_SECONDS
                return
            config = self.dress(self.plan.variant(claim.parameters), claim)
            self.running.append(RunningTrial(self.plan, claim, config, self._environment()))
            changes = self.plan.changes(claim.parameters)
            self.reporter.trial_begins(claim.number, changes, again=claim.again)

    def _environment(self) -> dict[str, str]:
        """Return a trial's environment: its share of the cores, unless the user has said."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        share = str(max(1, cores // self.plan.jobs))
        return {"OPENBLAS_NUM_THREADS": share, "NUMBA_NUM_THREADS": share, **os.environ}

    def _nothing_left(self) -> bool:
        if self.study.all_done():
            return True
        if not self._waiting_told and time.monotonic() < self._next_claim:
            self._waiting_told = True
            self.reporter.say("waiting for trials that other workers are at")
        return False

    # ---- looking after those that run ---------------------------------------------------------

    def _look_after(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + BEAT_SECONDS
            lost = self.study.beat([trial.claim for trial in self.running])
            for trial in self.running:
                if trial.claim in lost:
                    trial.kill()
        for trial in list(self.running):
            ending = trial.poll()
            try:
                self._report(trial, ended=ending is not None)
                if ending is not None:
                    self.running.remove(trial)
                    self._ended(trial, ending)
            except LostError as error:
                trial.kill()
                if trial in self.running:
                    self.running.remove(trial)
                self.reporter.say(f"trial {trial.claim.number} is left alone: {error}")

    def _report(self, trial: RunningTrial, *, ended: bool) -> None:
        """Hand new values on, and end the trial where the pruner says so."""
        for number, value in enumerate(trial.validations.read(), 1):
            if number <= trial.reported or value != value:
                continue
            trial.reported = number
            poor = self.study.report(trial.claim, value, number)
            if poor and not ended and not trial.stopped:
                trial.pruned = True
                trial.stop()
                return

    def _ended(self, trial: RunningTrial, ending: Ending) -> None:
        claim, value = trial.claim, trial.value()
        if ending.kind == "finished" and value is not None:
            self.study.complete(claim, value)
            self._tell(trial, "COMPLETE", value)
        elif trial.pruned and ending.kind != "failed":
            self.study.prune(claim)
            self._tell(trial, "PRUNED", value)
        elif ending.kind == "finished":
            self._failed(trial, f"{self.plan.metric} was never measured")
        elif ending.kind == "failed":
            self._failed(trial, ending.reason)
        elif self._kills.get(claim.number, 0) < RETRIES:
            self._kills[claim.number] = self._kills.get(claim.number, 0) + 1
            self.study.release(claim)
            self._next_claim = 0.0
            why = ending.reason or "told to stop by somebody else"
            self.reporter.say(f"trial {claim.number} was {why}; it is taken up again")
        else:
            self._failed(trial, ending.reason or "told to stop by somebody else, again")

    def _failed(self, trial: RunningTrial, reason: str) -> None:
        self.study.fail(trial.claim, reason)
        self._tell(trial, "FAILED", None, reason)
        self.failures += 1
        if self.failures >= self.plan.section.stop_after_failures:
            raise TooManyFailuresError(
                f"{self.failures} trials in a row have failed, the last one with: {reason}; "
                f"its log is {trial.log}"
            )

    def _tell(
        self, trial: RunningTrial, state: str, value: float | None, reason: str | None = None
    ) -> None:
        if state != "FAILED":
            self.failures = 0
        self.reporter.trial_ends(
            trial.claim.number,
            state,
            metric=self.plan.metric,
            value=value,
            seconds=trial.seconds,
            best=self.study.best(),
            reason=reason,
        )

    # ---- ending -------------------------------------------------------------------------------

    def _wind_up(self) -> None:
        """Have all trainings write a checkpoint and end; leave their trials to be gone on with."""
        for trial in self.running:
            trial.stop()
        end = time.monotonic() + GRACE_SECONDS
        while self.running and time.monotonic() < end:
            for trial in list(self.running):
                ending = trial.poll()
                if ending is None:
                    continue
                self.running.remove(trial)
                try:
                    if ending.kind in ("finished", "failed"):
                        self._ended(trial, ending)
                    else:
                        self.study.release(trial.claim)
                except (LostError, TooManyFailuresError):
                    continue
            time.sleep(POLL_SECONDS)
