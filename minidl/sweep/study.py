"""The study of a sweep in Optuna's storage: which trials there are, and who works on which.

Any number of workers, on any number of machines, may open the same study. A worker has its turn
(``turns``) while it looks at the trials and takes one, so none is given out twice. What it took is
written down with it: a slot (the trials of a sweep fill the slots 0 to N - 1, each once), the
worker, and a number that goes up while the worker is alive. A trial whose worker is gone is taken
up by another, under its own number: on the same machine at once (its lock file is free), on
another when the number has not gone up for ``STALE_SECONDS``.

A sampler is made anew for each trial, its seed a function of the sweep's seed and the slot. So
what `Random` gives a slot depends on nothing else, and a sweep that was killed goes on as if
nothing had happened; Optuna's own samplers would begin their sequence again with each process.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.sweep.dimensions import Stored
from minidl.sweep.plan import Plan, trial_directory
from minidl.sweep.samplers import pruner, sampler
from minidl.sweep.turns import TrialLock, Turns, address, sqlite_file
from minidl.train.config import ConfigError, Problem
from minidl.train.config.problems import Place

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


class LostError(Exception):
    """Another worker has taken the trial over: its result is no longer ours to give."""


@dataclass
class Claim:
    """A trial that this worker has taken.

    ``again`` says that another worker, or an earlier one, has begun it in ``directory``.
    """

    trial: Trial
    number: int
    parameters: dict[str, Stored]
    directory: Path
    lock: TrialLock
    again: bool
    reported: set[int] = field(default_factory=set)


class SweepStudy:
    """A plan's study, opened, and made where there is none.

    Raises
    ------
    ConfigError
        The storage cannot be opened, or the study there is one of another config.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.worker: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._beat = 0
        self._seen: dict[int, tuple[Any, float]] = {}
        troubles: tuple[type[Exception], ...] = (*storage_errors(), OSError, ImportError)
        try:
            self._turns = Turns(plan.storage)
            with self.turn():
                self.study = self._open()
        except troubles as error:
            message = f"the study's storage cannot be used: {reason_of(error)}"
            raise ConfigError([Problem.at(Place(_redacted(plan.storage)), message)]) from error

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only worker that does something, for the block."""
        with self._turns.turn(), warnings.catch_warnings():
            # Optuna's word for what may change between its versions; constraints.txt fixes ours.
            warnings.simplefilter("ignore", _experimental())
            yield

    def _open(self) -> Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        plan = self.plan
        if database := sqlite_file(plan.storage):
            database.parent.mkdir(parents=True, exist_ok=True)
            more: dict[str, Any] = {"connect_args": {"timeout": 60}}
        else:
            more = {"pool_pre_ping": True}
        storage = optuna.storages.RDBStorage(address(plan.storage), engine_kwargs=more)
        study = optuna.create_study(
            storage=storage,
            study_name=plan.study,
            direction="maximize" if plan.maximize else "minimize",
            load_if_exists=True,
            pruner=pruner(plan),
        )
        definition = json.dumps(plan.definition(), sort_keys=True)
        before = study.user_attrs.get("minidl.definition")
        if before is None:
            if study.get_trials(deepcopy=False):
                raise self._refusal("was not made by `minidl sweep`")
            study.set_user_attr("minidl.uid", uuid.uuid4().hex)
            study.set_user_attr("minidl.definition", definition)
        elif before != definition:
            changed = _differences(json.loads(before), json.loads(definition))
            raise self._refusal(f"was begun with another config: {', '.join(changed)}")
        return study

    def _refusal(self, why: str) -> ConfigError:
        place = Place(f"study {self.plan.study}")
        hint = "--study NAME begins another one"
        where = _redacted(self.plan.storage)
        return ConfigError([Problem.at(place, f"the study in {where} {why}", suggestion=hint)])

    def close(self) -> None:
        """Close the connections."""
        self._turns.close()
        storage: Any = self.study._storage
        storage.remove_session()
        getattr(storage, "_backend", storage).engine.dispose()

    # ---- what there is ------------------------------------------------------------------------

    def trials(self) -> list[FrozenTrial]:
        """Return the trials, by number, without those that never began."""
        found = self.study.get_trials(deepcopy=False)
        return [trial for trial in found if "void" not in trial.user_attrs]

    @property
    def uid(self) -> str:
        """What names this study, wherever it is, and no other."""
        return str(self.study.user_attrs["minidl.uid"])

    def others_at_work(self) -> bool:
        """Whether other workers have trials, as far as the storage knows."""
        workers = [
            trial.user_attrs.get("worker")
            for trial in self.trials()
            if trial.state.name == "RUNNING"
        ]
        return any(worker is not None and worker["id"] != self.worker["id"] for worker in workers)

    def all_done(self) -> bool:
        """Whether every slot's trial has ended."""
        ended = {t.user_attrs.get("slot") for t in self.trials() if t.state.is_finished()}
        return ended >= set(range(self.plan.trials))

    def best(self) -> tuple[int, float] | None:
        """Return the number and the value of the best trial that was run to its end."""
        try:
            trial = self.study.best_trial
        except ValueError:  # there is none yet
            return None
        assert trial.value is not None
        return trial.number, trial.value

    # ---- taking a trial -----------------------------------------------------------------------

    def claim(self) -> Claim | None:
        """Take a trial: one whose worker is gone, else a new one; None where there is none."""
        with self.turn():
            return self._abandoned() or self._new()

    def _abandoned(self) -> Claim | None:
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "slot" not in trial.user_attrs:
                # We have the turn, so whoever was making this one has died over it.
                self.study._storage.set_trial_user_attr(trial._trial_id, "void", True)
                self.study.tell(trial.number, state=TrialState.FAIL)
            elif taken := self._take_over(trial):
                lock, directory = taken
                with _let_go_on_error(lock):
                    again = self._trial(trial._trial_id)
                    return self._claim(again, directory, lock, again=True)
        return None

    def _take_over(self, trial: FrozenTrial) -> tuple[TrialLock, Path] | None:
        """Return the lock of a trial that nobody works on any more, and its directory."""
        worker = trial.user_attrs.get("worker")
        directory = self._directory(trial.number)
        if Path(trial.user_attrs.get("directory", directory)).parent.exists():
            directory = Path(trial.user_attrs.get("directory", directory))
        if worker is not None and worker["host"] != self.worker["host"]:
            mark = (worker["id"], trial.user_attrs.get("beat"))
            before, since = self._seen.setdefault(trial.number, (mark, time.monotonic()))
            if before != mark:
                self._seen[trial.number] = (mark, time.monotonic())
            if before != mark or time.monotonic() - since < STALE_SECONDS:
                return None
            if directory.exists():  # shared with a machine that may only be slow to answer
                directory = directory.with_name(f"{directory.name}-{self.worker['id'][:6]}")
        if worker is not None and worker["host"] == self.worker["host"]:
            lock = TrialLock.take(Path(worker["lock"]))
        else:
            lock = TrialLock.take(_lock_of(directory))
        return (lock, directory) if lock is not None else None

    def _new(self) -> Claim | None:
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        taken = {trial.user_attrs.get("slot") for trial in trials}
        slot = next(number for number in range(len(trials) + 1) if number not in taken)
        if any(trial.state == TrialState.WAITING for trial in trials):
            pass  # somebody has put one into the queue
        elif slot >= self.plan.trials:
            return None
        elif self.plan.grid is not None:
            self.study.enqueue_trial(dict(self.plan.grid[slot]), user_attrs={"slot": slot})
        self.study.sampler = sampler(self.plan, slot)
        space = {dimension.path: dimension.distribution() for dimension in self.plan.dimensions}
        trial = self.study.ask(space)
        trial.set_user_attr("slot", trial.user_attrs.get("slot", slot))
        directory = self._directory(trial.number)
        lock = TrialLock.take(_lock_of(directory))
        if lock is None:
            raise RuntimeError(f"{_lock_of(directory)} is held by another study's worker")
        with _let_go_on_error(lock):
            return self._claim(trial, directory, lock, again=False)

    def _claim(self, trial: Trial, directory: Path, lock: TrialLock, *, again: bool) -> Claim:
        trial.set_user_attr("directory", str(directory.absolute()))
        trial.set_user_attr("worker", self.worker | {"lock": str(lock.path.absolute())})
        reported = set(self.study._storage.get_trial(trial._trial_id).intermediate_values)
        return Claim(trial, trial.number, dict(trial.params), directory, lock, again, reported)

    def _trial(self, trial_id: int) -> Trial:
        import optuna

        # Optuna gives a trial only to the process that began it; and making one asks the sampler.
        self.study.sampler = optuna.samplers.RandomSampler()
        return optuna.Trial(self.study, trial_id)

    def _directory(self, number: int) -> Path:
        return trial_directory(self.plan.directory, number)

    # ---- working on it ------------------------------------------------------------------------

    def beat(self, claims: list[Claim]) -> list[Claim]:
        """Show that this worker is alive; return those that another has taken over."""
        self._beat += 1
        lost = []
        for claim in claims:
            try:
                self._mine(claim)
                claim.trial.set_user_attr("beat", self._beat)
            except LostError:
                lost.append(claim)
        return lost

    def report(self, claim: Claim, value: float, number: int) -> bool:
        """Note the metric after validation ``number`` (from 1); return whether to end the trial."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            if number not in claim.reported:
                claim.trial.report(value, number)
                claim.reported.add(number)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", _experimental())
                return claim.trial.should_prune()
        except UpdateFinishedTrialError:
            raise LostError("it has been ended by another worker") from None

    def complete(self, claim: Claim, value: float) -> None:
        """End a trial with its value."""
        self._end(claim, value=value)

    def prune(self, claim: Claim) -> None:
        """End a trial that was not worth going on with."""
        self._end(claim, state="PRUNED")

    def fail(self, claim: Claim, reason: str) -> None:
        """End a trial that could not be run."""
        self._end(claim, state="FAIL", reason=reason)

    def release(self, claim: Claim) -> None:
        """Leave a trial, as far as it has come, to whoever takes it up."""
        try:
            self._mine(claim)
            claim.trial.set_user_attr("worker", None)
        except LostError:
            pass
        claim.lock.release()

    def _end(
        self,
        claim: Claim,
        *,
        value: float | None = None,
        state: str | None = None,
        reason: str | None = None,
    ) -> None:
        from optuna.trial import TrialState

        with self.turn():
            try:
                self._mine(claim)
            except LostError:
                claim.lock.release()
                raise
            if reason is not None:
                claim.trial.set_user_attr("reason", reason[:1000])
            self.study.sampler = sampler(self.plan, 0)
            self.study.tell(claim.number, value, state=TrialState[state] if state else None)
        claim.lock.release(remove=True)

    def _mine(self, claim: Claim) -> FrozenTrial:
        """Return a trial as it is now.

        Raises
        ------
        LostError
            It is another worker's, or has been ended.
        """
        trial = self.study._storage.get_trial(claim.trial._trial_id)
        worker = trial.user_attrs.get("worker") or {}
        if trial.state.is_finished() or worker.get("id") != self.worker["id"]:
            raise LostError(f"trial {claim.number} is worked on by {worker.get('host', 'nobody')}")
        return trial


@contextmanager
def _let_go_on_error(lock: TrialLock) -> Iterator[None]:
    """Free a lock where what it was taken for could not be written down."""
    try:
        yield
    except BaseException:
        lock.release()
        raise


def storage_errors() -> tuple[type[Exception], ...]:
    """Return what is raised where the storage cannot be reached, or does not answer."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return StorageInternalError, SQLAlchemyError


def reason_of(error: BaseException) -> str:
    """Return what was behind an error of the storage, in a line: Optuna's own word is vague."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).splitlines()), type(error).__name__)


def _lock_of(directory: Path) -> Path:
    return directory.parent / "locks" / f"{directory.name}.lock"


def _experimental() -> type[Warning]:
    from optuna.exceptions import ExperimentalWarning

    return ExperimentalWarning


def _redacted(storage: str) -> str:
    from minidl.train.tracking.mlflow_uri import redacted

    return redacted(storage)


def _differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Name the paths at which two definitions differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            found
            for key in dict.fromkeys([*before, *now])
            for found in _differences(
                before.get(key), now.get(key), f"{path}.{key}" if path else str(key)
            )
        ]
    if before == now:
        return []
    return [f"`{path.removeprefix('config.')}` was {json.dumps(before)}, is {json.dumps(now)}"]
