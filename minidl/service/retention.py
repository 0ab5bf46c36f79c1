"""Retention: files of jobs that ended long ago, or that together take too much room, are removed.

The jobs themselves stay in the database, with what they found; what is gone can be trained anew,
and not gone on with. In this order no crash leaves a job that looks resumable and is not:

1. the database says that the files are going (only of a job that has ended, and is not queued);
2. the directory is renamed into ``trash/``, at once and as a whole;
3. it is removed there, in the background, by this service or the next.

Steps 1 and 2 are the scheduler's, whose thread also begins attempts: none begins in between. A job
whose run somebody is using (it is locked) is left for the next time.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from minidl.service.records import Job
from minidl.service.settings import ServiceSettings
from minidl.service.store import Leadership, NotFoundError, Store, StoreError
from minidl.train.run_directory import RunDirectory

log = logging.getLogger("minidl.service.retention")

#: Between two rounds; and how many directories are renamed at a time.
ROUND_SECONDS, AT_A_TIME = 600.0, 20
DAY = 86_400.0


class Retention:
    """Removes files of jobs that have ended, as the settings say.

    Looking at many directories takes time, and is done by a thread: it finds candidates, and
    removes what lies in the trash. Each candidate is looked at again by `tick`.
    """

    def __init__(self, store: Store, settings: ServiceSettings) -> None:
        self._store, self._settings = store, settings
        self._jobs, self._trash = settings.data / "jobs", settings.data / "trash"
        self._due = 0.0
        self._candidates: deque[str] = deque()
        self._leftovers: deque[str] = deque()
        self._looked_for_leftovers = False
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def tick(self, leadership: Leadership) -> None:
        """Take a few steps, if it is time; called by the scheduler, in its thread."""
        for _ in range(min(AT_A_TIME, len(self._leftovers))):
            self._clear_leftover(self._leftovers.popleft())
        for _ in range(min(AT_A_TIME, len(self._candidates))):
            self.remove_files(leadership, self._candidates.popleft())
        if time.monotonic() < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = time.monotonic() + ROUND_SECONDS
        self._thread = threading.Thread(
            target=self._look, args=(leadership,), name="minidl-retention", daemon=True
        )
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a round is going on."""
        alive = self._thread is not None and self._thread.is_alive()
        return alive or bool(self._candidates or self._leftovers)

    def close(self) -> None:
        """Stop; what is left in the trash is for the next service."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def remove_files(self, leadership: Leadership, job_id: str) -> bool:
        """Remove a job's files, unless it is in use or in the queue again."""
        directory = self._jobs / job_id
        if in_use(directory) or not leadership.retire(job_id):
            return False
        self._throw_away(directory)
        log.info("the files of job %s are removed", job_id)
        return True

    def _clear_leftover(self, job_id: str) -> None:
        """Remove a directory that is to be gone already: a service was killed in between."""
        if self._is_leftover(job_id):
            self._throw_away(self._jobs / job_id)

    def _is_leftover(self, job_id: str) -> bool:
        """Whether this database says that a job's files are to be gone.

        That it does not know the job is no reason: it may be the wrong database, or a restored one.
        """
        try:
            job = self._store.job(job_id)
        except NotFoundError:
            return self._was_deleted(job_id)
        return job.state.is_terminal and job.files_removed_at is not None

    def _was_deleted(self, job_id: str) -> bool:
        last = 0
        while events := self._store.events(job_id=job_id, after=last):  # they outlive their job
            if any(event.kind == "deleted" for event in events):
                return True
            last = events[-1].id
        log.warning("%s is of no job that this database knows", self._jobs / job_id)
        return False

    def _throw_away(self, directory: Path) -> None:
        try:
            self._trash.mkdir(parents=True, exist_ok=True)
            directory.rename(self._trash / f"{directory.name}.{time.time_ns()}")
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s cannot be removed: %s", directory, error)
        else:
            self._due = 0.0  # the thread empties the trash

    # ---- the thread ---------------------------------------------------------------------------

    def _look(self, leadership: Leadership) -> None:
        try:
            self._empty_trash()
            if not self._looked_for_leftovers:
                self._leftovers.extend(self._find_leftovers())
                self._looked_for_leftovers = True
            self._candidates.extend(self._find_candidates(leadership))
        except StoreError as error:
            log.info("retention waits: %s", error)
        except OSError as error:
            log.warning("retention: %s", error)

    def _empty_trash(self) -> None:
        if self._trash.is_dir():
            for path in self._trash.iterdir():
                shutil.rmtree(path, ignore_errors=True)

    def _find_leftovers(self) -> Iterable[str]:
        if not self._jobs.is_dir():
            return
        for path in sorted(self._jobs.iterdir()):
            if self._closed.is_set():
                return
            if self._is_leftover(path.name):
                yield path.name

    def _find_candidates(self, leadership: Leadership) -> list[str]:
        days, most = self._settings.keep_days, self._settings.keep_bytes
        found: dict[str, None] = {}  # a set that keeps its order
        if days is not None:
            old = leadership.expired(ended_before=time.time() - days * DAY, limit=1000)
            found |= dict.fromkeys(job.id for job in old)
        if most is not None:
            kept = [job for job in leadership.expired(limit=1_000_000) if job.id not in found]
            found |= dict.fromkeys(self._excess(kept, most))
        return list(found)

    def _excess(self, jobs: list[Job], most: int) -> Iterable[str]:
        """Return the jobs that ended first, as many as must go for the others to fit."""
        sizes = {job.id: size_of(self._jobs / job.id) for job in jobs if not self._closed.is_set()}
        total = sum(sizes.values())
        for job_id, size in sizes.items():
            if total <= most:
                return
            total -= size
            if size:
                yield job_id


def in_use(directory: Path) -> bool:
    """Whether somebody trains, or sends to MLflow, a run in a job's directory."""
    run = directory / "run"
    return any(RunDirectory(path).in_use() for path in (run, *run.glob("trial-*")))


def size_of(directory: Path) -> int:
    """Return the bytes that a directory's files take on the disk."""
    total = 0
    waiting = [directory]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
