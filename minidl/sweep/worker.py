"""One worker of a sweep: takes trials, trains each in its own process, writes down how they end.

A trial that crashes, diverges or is killed ends itself and nothing else. A first Ctrl-C (or
SIGTERM) has all trainings write a checkpoint and end, and leaves their trials to be gone on with;
a second one ends them at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from minidl.sweep.plan import Plan
from minidl.sweep.reporter import SweepReporter
from minidl.sweep.study import (
    BEAT_SECONDS,
    Claim,
    LostError,
    SweepStudy,
    reason_of,
    storage_errors,
)
from minidl.sweep.trial import Ending, RunningTrial
from minidl.train.config import Config
from minidl.train.interruption import Interrupted, Interruption

POLL_SECONDS = 0.1
CLAIM_SECONDS = 1.0
GRACE_SECONDS = 60.0
PATIENCE_SECONDS = 600.0  # with a storage that does not answer: a server may be started anew
#: How often a trial that was killed is taken up again: a machine short of memory kills it anew.
RETRIES = 1


class TooManyFailuresError(Exception):
    """So many trials in a row have failed that the config, and not chance, is to blame."""


@dataclass
class Worker:
    """A worker of one study, on this machine.

    ``dress`` makes of a variant the config that its trial is trained with: where it is written and
    how it is tracked. ``timeout`` is in seconds: after it no trial is begun. ``keep_open`` are
    descriptors that the trials' processes inherit.
    """

    plan: Plan
    study: SweepStudy
    reporter: SweepReporter
    dress: Callable[[Config, Claim], Config]
    timeout: float | None = None
    keep_open: tuple[int, ...] = ()
    failures: int = 0
    running: list[RunningTrial] = field(default_factory=list)
    _kills: dict[int, int] = field(default_factory=dict)
    _next_beat: float = 0.0
    _next_claim: float = 0.0
    _waiting_told: bool = False
    _silent_since: float | None = None

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
                while not self._is_done(end):
                    interruption.check()
                    time.sleep(POLL_SECONDS)
            except (Interrupted, TooManyFailuresError):
                self._wind_up()
                raise
            finally:
                for trial in self.running:  # a second signal, or a mistake of ours
                    trial.kill()
                for trial in self.running:
                    with suppress(*storage_errors()):  # without its word the lock says it too
                        self.study.release(trial.claim)

    # ---- beginning ----------------------------------------------------------------------------

    def _is_done(self, end: float) -> bool:
        """Do what is to be done now; return whether nothing is left to be done."""
        try:
            self._look_after()
            late = time.monotonic() >= end
            idle = late or self._begin()
            done = idle and not self.running and (late or self.study.all_done())
        except storage_errors() as error:
            self._no_answer(error)
            return False
        self._silent_since = None
        if idle and not (done or self.running or self._waiting_told):
            self._waiting_told = True
            self.reporter.say("waiting for trials that other workers are at")
        return done

    def _no_answer(self, error: Exception) -> None:
        """Wait for a storage that does not answer; the trainings go on meanwhile."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
            self.reporter.say(
                f"the study's storage does not answer, it is tried again: {reason_of(error)}"
            )
        if now - self._silent_since > PATIENCE_SECONDS:
            raise error
        time.sleep(CLAIM_SECONDS)

    def _begin(self) -> bool:
        """Begin trials while there is room for them; return whether there are none to begin."""
        while len(self.running) < self.plan.jobs and time.monotonic() >= self._next_claim:
            claim = self.study.claim()
            if claim is None:
                self._next_claim = time.monotonic() + CLAIM_SECONDS
                return True
            try:
                config = self.dress(self.plan.variant(claim.parameters), claim)
            except ValueError as error:  # values that each are right, and not together
                self.study.fail(claim, " ".join(str(error).split()))
                continue
            trial = RunningTrial(
                self.plan, claim, config, self._environment(), keep_open=self.keep_open
            )
            self.running.append(trial)
            self.reporter.trial_begins(
                claim.number,
                self.plan.words(claim.parameters),
                parameters=claim.parameters,
                again=claim.again,
            )
        return False

    def _environment(self) -> dict[str, str]:
        """Return a trial's environment: its share of the cores, unless the user has said."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        share = str(max(1, cores // self.plan.jobs))
        theirs = {"OPENBLAS_NUM_THREADS": share, "NUMBA_NUM_THREADS": share, **os.environ}
        theirs.pop("MLFLOW_RUN_ID", None)  # which `mlflow run` made for the sweep, not for a trial
        return theirs

    # ---- looking after those that run ---------------------------------------------------------

    def _look_after(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + BEAT_SECONDS
            lost = self.study.beat([trial.claim for trial in self.running])
            for trial in [trial for trial in self.running if trial.claim in lost]:
                self._let_go(trial)
        for trial in list(self.running):
            ending = trial.poll()
            try:
                self._report(trial, ended=ending is not None)
                if ending is not None:
                    self._ended(trial, ending)
            except LostError:
                self._let_go(trial)

    def _let_go(self, trial: RunningTrial) -> None:
        """Leave a trial to the worker that has taken it over: this one was silent for too long."""
        trial.kill()
        self.running.remove(trial)
        trial.claim.lock.release()
        self.reporter.say(f"trial {trial.claim.number} is another worker's now")

    def _report(self, trial: RunningTrial, *, ended: bool) -> None:
        """Hand new values on, and end the trial where the pruner says so."""
        for number, value in enumerate(trial.validations.read(), 1):
            if number <= trial.reported or value != value:
                continue
            trial.reported = number
            poor = self.study.report(trial.claim, value, number)
            last = number >= trial.whole  # there is nothing left to be saved
            if poor and not (ended or last or trial.stopped):
                trial.pruned = True
                trial.stop()
                return

    def _ended(self, trial: RunningTrial, ending: Ending) -> None:
        """Write down how a trial ended; it stays with us until that is written."""
        claim, value = trial.claim, trial.value()
        if ending.kind == "finished" and value is not None:
            self.study.complete(claim, value)
            self._tell(trial, "COMPLETE", value)
        elif trial.pruned and ending.kind != "failed":
            self.study.prune(claim)
            self._tell(trial, "PRUNED", trial.validations.values[trial.reported - 1])
        elif ending.kind == "finished":
            self._failed(trial, f"{self.plan.metric} was never measured")
        elif ending.kind == "failed":
            self._failed(trial, ending.reason)
        elif self._kills.get(claim.number, 0) < RETRIES:
            self.study.release(claim)
            self.running.remove(trial)
            self._kills[claim.number] = self._kills.get(claim.number, 0) + 1
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
        self.running.remove(trial)
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
                try:
                    if ending.kind in ("finished", "failed"):
                        self._ended(trial, ending)
                    else:
                        self.study.release(trial.claim)
                        self.running.remove(trial)
                except LostError:
                    self._let_go(trial)
                except TooManyFailuresError:
                    continue
            time.sleep(POLL_SECONDS)
