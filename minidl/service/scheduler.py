"""The scheduler: takes jobs from the queue, watches their attempts, and writes down how they end.

It has no state of its own. The database says what there is to do, and the attempts' records and
locks say what has been done; from these a new scheduler goes on where one that was killed has
stopped. In this order nothing is lost, whenever that happens:

1. An attempt is written down (``starting``) before it is placed, and placing it twice places it
   once (`minidl.service.executors`).
2. A reason to stop is written down before the attempt is told.
3. An attempt writes down how it ended before its process ends; the scheduler takes that over, with
   what follows for the job, in one transaction; and only then is it forgotten.

Whoever leads (one scheduler, `minidl.service.store.Leadership`) may be mistaken about it for a
while; each of its writes is checked, and attempts that it places then find the job's lock taken.

While the database does not answer, attempts go on and are watched; what is to be written waits.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from minidl.service import run_notes
from minidl.service.executors.executor import Executor, read_record
from minidl.service.mlflow_ends import MlflowEnds
from minidl.service.placing import data_identity, places_of, prepare_files, spec_of
from minidl.service.policy import verdict
from minidl.service.records import Attempt, Job
from minidl.service.retention import Retention
from minidl.service.settings import ServiceSettings
from minidl.service.states import JobState, StopReason
from minidl.service.store import (
    Leadership,
    LostLeadershipError,
    NotFoundError,
    Store,
    StoreUnavailableError,
    WrongStateError,
)
from minidl.service.watched import Watched

log = logging.getLogger("minidl.service.scheduler")

#: Seconds between two looks at attempts, at the database while attempts run, and while none do.
POLL_SECONDS, REFRESH_SECONDS, IDLE_SECONDS = 0.2, 2.0, 5.0
#: Seconds between two notes of how far an attempt is.
NOTE_SECONDS = 2.0
#: Seconds until the database is tried again, doubled each time; until one asks to lead again.
FIRST_WAIT, LONGEST_WAIT, LEAD_SECONDS = 0.2, 10.0, 2.0
STUMBLE_SECONDS = 1.0
#: After the grace of the attempts: until their ends are written down.
SHUTDOWN_SECONDS = 10.0


class Scheduler:
    """Runs the jobs of a store.

    Parameters
    ----------
    executors
        By name, as attempts name them; new attempts go to ``settings.executor``.

    Attributes
    ----------
    wake
        To be set by whoever has changed something: a job was submitted, or is to be cancelled.
    leading
        Whether this scheduler leads.
    trouble
        Why it cannot work at present; None where it can.
    """

    def __init__(
        self,
        store: Store,
        executors: Mapping[str, Executor],
        settings: ServiceSettings,
    ) -> None:
        self.store = store
        self.settings = settings
        self.wake = threading.Event()
        self.trouble: str | None = None
        self.last_tick = time.monotonic()
        self._executors = dict(executors)
        self._place = f"/{data_identity(settings.data)}"
        self._host = socket.gethostname() + self._place
        self._holder = f"{self._host}:{os.getpid()}"
        self._leadership: Leadership | None = None
        self._watched: dict[tuple[str, int], Watched] = {}
        self._foreign: set[tuple[str, int]] = set()
        self._closing = False
        self._wait = FIRST_WAIT
        self._store_due = self._refresh_due = 0.0
        self._retry_due = float("inf")
        self._ends = MlflowEnds(settings.data)
        self._retention = Retention(store, settings)

    @property
    def leading(self) -> bool:
        """Whether this scheduler leads."""
        return self._leadership is not None

    @property
    def running(self) -> int:
        """How many attempts are watched."""
        return len(self._watched)

    # ---- the loop -----------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; then have all attempts write a checkpoint, and end."""
        try:
            while not stop.is_set():
                try:
                    seconds = self.tick()
                except Exception as error:  # a mistake of ours; the next tick may do better
                    log.exception("the scheduler stumbles")
                    self.trouble, seconds = f"{type(error).__name__}: {error}", STUMBLE_SECONDS
                self._rest(seconds, stop)
            self._shut_down()
        finally:
            self._ends.close()
            self._retention.close()
            self._let_go()
            for executor in self._executors.values():
                executor.close()

    def _rest(self, seconds: float, stop: threading.Event) -> None:
        """Wait so long, or until woken; ``stop`` may be set without anybody waking us."""
        end = time.monotonic() + seconds
        while not stop.is_set() and (left := end - time.monotonic()) > 0:
            if self.wake.wait(min(left, 0.5)):
                return

    def tick(self) -> float:
        """Do what is to be done now; return after how many seconds to look again."""
        now = self.last_tick = time.monotonic()
        woken = self.wake.is_set()
        self.wake.clear()
        self._for_each(self._look_after)
        if now < self._store_due and not woken:
            return min(POLL_SECONDS, self._store_due - now)
        try:
            self._work_with_the_store(woken=woken)
        except StoreUnavailableError as error:
            return self._outage(error)
        except LostLeadershipError as error:
            log.warning("%s", error)
            self.trouble = str(error)
            self._let_go()
            return self._later(LEAD_SECONDS)
        if self.leading:
            self.trouble, self._wait, self._store_due = None, FIRST_WAIT, 0.0
            return POLL_SECONDS if self._watched else self._idle_seconds()
        return self._later(LEAD_SECONDS)

    def _later(self, seconds: float) -> float:
        self._store_due = time.monotonic() + seconds
        return POLL_SECONDS if self._watched else seconds

    def _outage(self, error: StoreUnavailableError) -> float:
        if self.trouble is None:
            log.warning("%s; attempts go on, and it is tried again", error)
        self.trouble = str(error)
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        self._refresh_due = 0.0
        return self._later(wait)

    def _idle_seconds(self) -> float:
        soon = max(0.0, self._retry_due - time.time()) if not self._closing else IDLE_SECONDS
        return min(max(soon, 0.05), max(0.05, self._refresh_due - time.monotonic()), IDLE_SECONDS)

    def _work_with_the_store(self, *, woken: bool) -> None:
        leadership = self._leadership
        if leadership is None:
            leadership = self._leadership = self.store.lead(self._holder)
            if leadership is None:
                self.trouble = "another scheduler holds the database"
                return
            log.info("leads, as %s, epoch %s", self._holder, leadership.epoch)
            self._refresh(leadership)
            self._ends.recover({job_id for job_id, _ in self._watched})
            self._refresh_due = 0.0
        ended = any(watched.end is not None for watched in self._watched.values())
        retry = time.time() >= self._retry_due
        fresh = woken or ended or retry or time.monotonic() >= self._refresh_due
        if fresh:
            leadership.check()
            self._refresh(leadership)
        self._for_each(self._write_down)
        self._note_what_mlflow_was_told(leadership)
        if not self._closing:
            if fresh:
                self._fill(leadership)
            self._retention.tick(leadership)

    def _guarded(self, job: Job, attempt: Attempt, step: Callable[[], object]) -> None:
        """Do something with one attempt; a mistake of ours must not stop all others."""
        try:
            step()
        except (StoreUnavailableError, LostLeadershipError):
            raise
        except WrongStateError as error:  # somebody was faster: see how things are, and decide anew
            log.info("job %s: %s", job.id, error)
            self._refresh_due = 0.0
        except Exception:
            log.exception("attempt %s of job %s", attempt.number, job.id)

    def _for_each(self, step: Callable[[Watched], object]) -> None:
        for watched in list(self._watched.values()):
            self._guarded(watched.job, watched.attempt, partial(step, watched))

    def _look_after(self, watched: Watched) -> None:
        """What can be done without the database."""
        watched.look()
        if watched.job.stop_reason is not None:
            watched.press()

    # ---- what the database says ---------------------------------------------------------------

    def _refresh(self, leadership: Leadership) -> None:
        """Read which attempts live; take up those that a former scheduler has left."""
        living = {(job.id, attempt.number): (job, attempt) for job, attempt in leadership.active()}
        for key in self._watched.keys() - living.keys():  # its end was written, the answer lost
            del self._watched[key]
        for key, (job, attempt) in living.items():
            if key in self._watched:
                self._watched[key].job = job
            elif attempt.executor in self._executors and attempt.host.endswith(self._place):
                log.info("takes up attempt %s of job %s", attempt.number, job.id)
                self._guarded(job, attempt, partial(self._watch, job, attempt))
            elif key not in self._foreign:
                self._foreign.add(key)
                log.warning(
                    "attempt %s of job %s was begun by another service, on executor %r and with "
                    "another data directory (%s): only that service can tell how it is",
                    *(attempt.number, job.id, attempt.executor, attempt.host),
                )
        self._refresh_due = time.monotonic() + (REFRESH_SECONDS if living else IDLE_SECONDS)

    def _watch(self, job: Job, attempt: Attempt) -> None:
        spec = spec_of(job, attempt, self.store, self.settings)
        watched = Watched.of(job, attempt, spec, self._executors[attempt.executor])
        self._watched[job.id, attempt.number] = watched
        self._ends.forget(job.id)  # whose run in MLflow is taken up again
        self._look_after(watched)

    # ---- what is written to it ----------------------------------------------------------------

    def _write_down(self, watched: Watched) -> None:
        leadership = self._leadership
        assert leadership is not None
        if watched.end is not None:
            self._end(leadership, watched)
            return
        if watched.handle is not None and watched.attempt.handle is None:
            watched.attempt = leadership.placed(watched.attempt, watched.handle, waiting=True)
        if watched.runs:
            assert watched.handle is not None
            watched.note_running(leadership.placed(watched.attempt, watched.handle))
        if watched.overdue and watched.job.stop_reason is None:
            watched.job = leadership.ask_to_stop(watched.job.id, StopReason.TIMEOUT)
        elif self._closing and watched.job.stop_reason is None:
            watched.job = leadership.ask_to_stop(watched.job.id, StopReason.SHUTDOWN)
        if watched.job.stop_reason is not None:
            watched.press()
        if time.monotonic() >= watched.next_note:
            self._note(leadership, watched)

    def _note(self, leadership: Leadership, watched: Watched) -> None:
        """Write down how far an attempt is, where that has changed."""
        watched.next_note = time.monotonic() + NOTE_SECONDS
        job, directory, number = watched.job, watched.directory, watched.attempt.number
        begun = read_record(watched.spec.files.begun)
        if begun is not None and not watched.begun_told:
            data = {name: begun.get(name) for name in ("how", "step", "reason")}
            state = job.state if job.state is JobState.CANCELLING else JobState.RUNNING
            data |= {"state": state, "number": number}
            self.store.audit("begun", actor="service", job_id=job.id, data=data)
            watched.begun_told = True
        if not watched.is_at_its_run:
            return
        progress = run_notes.progress(directory, job.kind, number) or job.progress
        mlflow = run_notes.mlflow(directory, page=self.settings.mlflow_page) or job.mlflow
        leadership.note(
            job.id,
            progress=progress if progress != job.progress else None,
            mlflow=mlflow if mlflow != job.mlflow else None,
        )
        watched.job = replace(job, progress=progress, mlflow=mlflow)

    def _note_what_mlflow_was_told(self, leadership: Leadership) -> None:
        """Write down where MLflow has runs that it heard of after their end only."""
        while self._ends.done:
            job_id = self._ends.done[0]
            directory = self.settings.data / "jobs" / job_id
            found = run_notes.mlflow(directory, page=self.settings.mlflow_page)
            with suppress(NotFoundError):  # deleted meanwhile
                leadership.note(job_id, mlflow=found)
            self._ends.done.popleft()

    def _end(self, leadership: Leadership, watched: Watched) -> None:
        """Write down how an attempt ended, and what follows."""
        job, end = watched.job, watched.end
        assert end is not None
        run_seconds = watched.run_seconds
        decided = verdict(
            job,
            end,
            new_steps=watched.has_new_steps(),
            run_seconds=job.run_seconds + run_seconds,
            now=time.time(),
            placed=watched.handle is not None,
        )
        self._note(leadership, watched)
        if decided.job.is_terminal:
            if watched.is_at_its_run:
                found = run_notes.result(watched.directory, job.kind, job.config)
                leadership.note(job.id, result=found or None)
            self._ends.note(watched.spec, end)
        first, last = watched.steps()
        leadership.end_attempt(
            watched.attempt,
            state=decided.attempt,
            job_state=decided.job,
            exit_status=end.exit_status,
            cause=decided.cause,
            error=decided.error,
            count_retry=decided.count_retry,
            idle_interruptions=decided.idle,
            not_before=decided.not_before,
            run_seconds=run_seconds,
            first_step=first,
            last_step=last,
            ended_at=end.at,
        )
        if decided.not_before is not None:
            self._retry_due = min(self._retry_due, decided.not_before)
        del self._watched[job.id, watched.attempt.number]
        if decided.job.is_terminal:
            self._ends.begin(job.id)

    # ---- beginning ----------------------------------------------------------------------------

    def _fill(self, leadership: Leadership) -> None:
        """Begin attempts while there is room for them."""
        if time.time() >= self._retry_due:
            self._retry_due = float("inf")
        while (free := self._free_places()) > 0:
            owners = Counter(watched.job.owner for watched in self._watched.values())
            job = leadership.next_job(
                running_by_user=owners, per_user=self.settings.per_user, now=time.time()
            )
            # One of many ranks keeps those behind it waiting, or its turn would never come.
            if job is None or places_of(job, self.settings) > free:
                return
            try:
                attempt = leadership.begin_attempt(
                    job.id, executor=self.settings.executor, host=self._host
                )
            except WrongStateError:  # cancelled in this moment
                continue
            self._begin(job, attempt)

    def _free_places(self) -> int:
        taken = sum(places_of(watched.job, self.settings) for watched in self._watched.values())
        return self.settings.concurrency - taken

    def _begin(self, job: Job, attempt: Attempt) -> None:
        try:
            prepare_files(self.settings, job)
        except OSError as error:  # which placing the attempt will find too, and tell
            log.warning("job %s: %s", job.id, error)
        self._guarded(job, attempt, partial(self._watch, job, attempt))
        watched = self._watched.get((job.id, attempt.number))
        if watched is not None:
            self._guarded(job, attempt, partial(self._write_down, watched))

    # ---- ending -------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Have all attempts write a checkpoint and end; their jobs wait in the queue."""
        self._closing = True
        end = time.monotonic() + self.settings.grace + SHUTDOWN_SECONDS
        while self._watched and time.monotonic() < end:
            seconds = self.tick()
            if self._store_due > time.monotonic():  # the reason cannot be written: it does no harm
                for watched in self._watched.values():
                    watched.press()
            self.wake.wait(min(seconds, POLL_SECONDS))

    def _let_go(self) -> None:
        self._watched.clear()
        leadership, self._leadership = self._leadership, None
        if leadership is not None:
            leadership.release()
