"""Job directories at a URL: whole or not there, claimed once, fenced, and brought back."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_jobs
from executor_conformance import PATIENCE as SECONDS
from executor_conformance import step_of

from minidl.service.executors import stored_attempt
from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    ExecutorUnavailableError,
    read_record,
)
from minidl.service.executors.storage import (
    FencedError,
    State,
    StateName,
    StoredJob,
    TornError,
    open_store,
    replace_or_append,
)
from minidl.service.executors.stored_place import StoredPlace

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra ray)")

FIRST = {"log.txt": b"one\n", "run/checkpoints/last.json": b"{}", "run/model/a": b"weights"}


@pytest.fixture(params=["memory", "file", "shelf"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place of each kind: a dictionary, a disk, and an object store of a scheme of our own."""
    if request.param == "file":
        yield f"file://{tmp_path / 'store'}"
        return
    if request.param == "shelf":
        fsspec.register_implementation("shelf", shelf(), clobber=True)
    yield f"{request.param}://bucket-{os.getpid()}/jobs"
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


def shelf() -> type:
    """Object stores as they are: no directories, a cached listing, errors of their own."""
    from fsspec.implementations.memory import MemoryFileSystem

    class ShelfError(Exception):
        pass

    class Shelf(MemoryFileSystem):
        protocol = "shelf"
        broken = False

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(super()._strip_protocol(path.replace("shelf://", "memory://")))

        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            pass

        def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
            self._check()
            path = self._strip_protocol(path)
            if path not in self.dircache:
                self.dircache[path] = super().ls(path, detail=True, **kwargs)
            found = self.dircache[path]
            return found if detail else [entry["name"] for entry in found]

        def invalidate_cache(self, path: str | None = None) -> None:
            self.dircache.clear()

        def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
            self._check()
            return bytes(super().cat_file(path, *args, **kwargs))

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
            self._check()
            super().pipe_file(path, value, mode=mode, **more)

        def _check(self) -> None:
            if Shelf.broken:
                raise ShelfError("503 slow down")

    return Shelf


@pytest.fixture
def job(url: str) -> StoredJob:
    return StoredJob(url, "j1")


def content_of(job: StoredJob, folder: Path, **wanted: Any) -> dict[str, bytes]:
    """What a machine gets that pulls the newest whole state."""
    state = next(job.states())
    job.pull(state, folder, **wanted)
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def spoil(job: StoredJob, *path: str, content: bytes | None) -> None:
    """Change what is stored as a broken store, or a machine that died, might."""
    if content is None:
        job._remove(job._path(*path))
    else:
        job._write(job._path(*path), content)


# ---- states -------------------------------------------------------------------------------------


def test_what_is_pushed_is_pulled(job: StoredJob, tmp_path: Path) -> None:
    assert list(job.states()) == []
    first = job.push(StateName(1, 0), FIRST, {})
    assert content_of(job, tmp_path / "a") == FIRST
    kept = {path: entry for path, entry in first.files.items() if path != "run/model/a"}
    job.push(StateName(1, 1), {"log.txt": b"one\ntwo\n"}, kept)
    expected = {"log.txt": b"one\ntwo\n", "run/checkpoints/last.json": b"{}"}
    assert content_of(job, tmp_path / "b") == expected
    small = content_of(job, tmp_path / "c", wanted=lambda path: "checkpoints" not in path)
    assert small == {"log.txt": b"one\ntwo\n"}


@pytest.mark.parametrize("damage", ["torn", "empty", "other", "no object"])
def test_a_torn_push_is_not_taken(damage: str, job: StoredJob, tmp_path: Path) -> None:
    job.push(StateName(1, 0), FIRST, {})
    state = job.push(StateName(1, 1), {"log.txt": b"one\ntwo\n"}, {})
    whole = state.to_bytes()
    torn = {"torn": whole[:-9], "empty": b"", "other": whole.replace(b"log.txt", b"log.tyt")}
    if damage == "no object":
        spoil(job, "objects", state.files["log.txt"][0], content=None)
    else:
        spoil(job, "states", state.name.file, content=torn[damage])
    assert content_of(job, tmp_path / "a") == FIRST


def test_content_that_is_not_what_was_pushed_is_not_taken(job: StoredJob, tmp_path: Path) -> None:
    state = job.push(StateName(1, 0), FIRST, {})
    spoil(job, "objects", state.files["log.txt"][0], content=b"on")
    with pytest.raises(TornError, match=r"the content of log\.txt is not there"):
        content_of(job, tmp_path)


@pytest.mark.parametrize("path", ["../x", "/etc/x", "run/../../x"])
def test_a_store_cannot_write_elsewhere(path: str, job: StoredJob, tmp_path: Path) -> None:
    job.push(StateName(1, 0), {path: b"x"}, {})
    with pytest.raises(ExecutorUnavailableError, match="is no path within"):
        content_of(job, tmp_path / "in")


def test_old_states_go_and_what_only_they_name(job: StoredJob, tmp_path: Path) -> None:
    for number in range(5):
        job.push(StateName(1, number), {"log.txt": b"x" * number, "same": b"same"}, {})
        job.prune()
    assert [name.push for name in job.state_names()] == [3, 4]
    assert len(job._objects()) == 3
    assert content_of(job, tmp_path / "a") == {"log.txt": b"xxxx", "same": b"same"}


def test_an_attempt_that_was_given_up_changes_nothing(job: StoredJob, tmp_path: Path) -> None:
    job.push(StateName(1, 0), FIRST, {})
    job.push(StateName(2, 0), {"log.txt": b"two"}, {})
    with pytest.raises(FencedError, match="a later attempt than 1"):
        job.push(StateName(1, 1), {"log.txt": b"late"}, {})
    # Nor where it did not see it: its state is older than any of the attempt that followed.
    job._write(job._path("states", StateName(1, 2).file), State(StateName(1, 2), {}).to_bytes())
    assert content_of(job, tmp_path / "a") == {"log.txt": b"two"}


def test_an_attempt_is_claimed_once(job: StoredJob) -> None:
    assert job.claimed(1) is None
    assert job.claim(1)
    assert not job.claim(1)
    assert job.claim(2)


def test_of_many_one_claims_an_attempt(tmp_path: Path) -> None:
    job = StoredJob(f"file://{tmp_path}", "j1")
    start, got = threading.Barrier(8), []

    def claim() -> None:
        start.wait()
        got.append(job.claim(1))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_a_store_that_does_not_answer_is_told(tmp_path: Path) -> None:
    kind = shelf()
    fsspec.register_implementation("shelf", kind, clobber=True)
    job = StoredJob("shelf://b/j", "j1")
    kind.broken = True  # type: ignore[attr-defined]
    for question in (job.state_names, lambda: job.claim(1), lambda: job.renew(1, 0)):
        with pytest.raises(ExecutorUnavailableError, match=r"shelf://b/j/j1 .*: 503 slow down"):
            question()


def test_a_store_that_does_not_answer_is_left_alone_for_a_while(tmp_path: Path) -> None:
    kind = shelf()
    fsspec.register_implementation("shelf", kind, clobber=True)
    place, spec = StoredPlace("shelf://b/k"), tiny_jobs.spec(tmp_path, {})
    place.publish(spec)
    kind.broken = True  # type: ignore[attr-defined]
    with pytest.raises(ExecutorUnavailableError, match="503 slow down"):
        place.at_work(spec)
    kind.broken = False  # type: ignore[attr-defined]
    with pytest.raises(ExecutorUnavailableError, match="503 slow down"):
        place.fetch(spec, all_files=True)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("bucket/jobs", "'bucket/jobs' is no URL; one reads"),
        ("nosuch://bucket", "nosuch://bucket cannot be used: .*nosuch"),
    ],
)
def test_urls_that_are_none(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_store(url)


def test_what_has_grown_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    replace_or_append(log, b"one\n")
    with open(log, "rb") as reader:  # who follows it keeps the file
        assert reader.read() == b"one\n"
        replace_or_append(log, b"one\ntwo\n")
        assert reader.read() == b"two\n"
    replace_or_append(log, b"other\n")
    assert log.read_bytes() == b"other\n"
    replace_or_append(log, b"")
    assert log.read_bytes() == b""


# ---- an attempt's machine, without a cluster ----------------------------------------------------


class Machine:
    """The service's side, and processes as a cluster starts them."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.url = f"file://{folder / 'store'}"
        self.place = StoredPlace(self.url, **settings)
        self.processes: list[subprocess.Popen[bytes]] = []

    def spec(self, data: dict[str, Any] | None = None, **settings: Any) -> AttemptSpec:
        directory = self.folder / "data" / "j1"
        directory.mkdir(parents=True, exist_ok=True)
        return tiny_jobs.spec(directory, data, **settings)

    def start(self, spec: AttemptSpec, *, changes: str = "") -> subprocess.Popen[bytes]:
        """Publish an attempt and start its process, with constants changed for a test."""
        self.place.publish(spec)
        module = "minidl.service.executors.stored_attempt"
        program = f"import sys; from {module} import *; from {module} import main\n"
        program += f"import {module} as module\n{changes}\nsys.exit(main())"
        process = subprocess.Popen(
            [sys.executable, "-c", program, self.url, spec.job_id, str(spec.number)],
            env=tiny_jobs.environment(self.folder / "hidden"),
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def at_step(self, spec: AttemptSpec, step: int) -> None:
        """Wait until so much was pushed."""
        self.until(spec, lambda: step_of(spec) >= step)

    def until(self, spec: AttemptSpec, enough: Any) -> None:
        limit = time.monotonic() + SECONDS
        while not enough():
            assert time.monotonic() < limit
            time.sleep(0.2)
            self.place.fetch(spec, all_files=True)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


slow = pytest.mark.slow


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path, give_up_seconds=2.0)
    yield found
    found.close()


@slow
def test_trains_to_the_end_as_without_a_service(machine: Machine, tmp_path: Path) -> None:
    spec = machine.spec()
    assert machine.start(spec).wait(SECONDS) == 0
    machine.place.fetch(spec, all_files=True)
    assert spec.files.read_end().exit_status == 0  # type: ignore[union-attr]
    assert not machine.place.at_work(spec)
    assert AttemptSpec.read(spec.files.spec) == spec  # of this directory, not of the machine's
    assert "run FINISHED" in spec.files.log.read_text()
    run = Path(spec.directory) / "run"
    expected = tiny_jobs.undisturbed(tmp_path / "undisturbed", tiny_jobs.resolved())
    assert tiny_jobs.fingerprints(run) == expected
    assert machine.start(spec).wait(SECONDS) == 3  # it was made already


@slow
def test_sigterm_is_a_checkpoint_that_is_pushed(machine: Machine) -> None:
    spec = machine.spec(tiny_jobs.long())
    process = machine.start(spec)
    machine.at_step(spec, 2)
    os.killpg(process.pid, signal.SIGTERM)  # as Ray does: this process, and the attempt's
    assert process.wait(SECONDS) == 75
    machine.place.fetch(spec, all_files=True)
    assert spec.files.read_end().exit_status == 75  # type: ignore[union-attr]
    reached = step_of(spec)

    following = replace(spec, number=2, overrides=(f"trainer.max_steps={reached + 2}",))
    assert machine.start(following).wait(SECONDS) == 0
    machine.place.fetch(following, all_files=True)
    begun = read_record(following.files.begun)
    assert begun is not None
    assert (begun["how"], begun["step"]) == ("resumed", reached)
    assert step_of(following) == reached + 2


def test_a_checkpoint_that_is_replaced_while_it_is_looked_at_ends_nothing(
    job: StoredJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "run/checkpoints/last.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("{}")
    mark, gone = stored_attempt._mark, [True]

    def look(path: Path) -> Any:
        if gone.pop():
            raise FileNotFoundError(path)
        gone.append(False)
        return mark(path)

    monkeypatch.setattr(stored_attempt, "_mark", look)
    attempt = stored_attempt.StoredAttempt(job, 1, tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        attempt._keep_up(process)
        assert list(job.states()) == []
        gone.append(False)
        attempt._keep_up(process)
    assert "run/checkpoints/last.json" in next(job.states()).files


@slow
def test_a_machine_that_dies_is_given_up_when_its_lease_stands_still(machine: Machine) -> None:
    spec = machine.spec(tiny_jobs.long())
    process = machine.start(spec)
    machine.at_step(spec, 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert machine.place.at_work(spec)
    following = replace(spec, number=2)
    with pytest.raises(ExecutorUnavailableError, match="attempt 1 may still be at work"):
        machine.place.publish(following)
    assert not machine.place.write_off(spec, End(None, "gone"))
    machine.until(spec, lambda: not machine.place.at_work(spec))
    assert machine.place.write_off(spec, End(None, "gone"))
    following = replace(following, overrides=(f"trainer.max_steps={step_of(spec) + 2}",))
    assert machine.start(following).wait(SECONDS) == 0
    machine.place.fetch(following, all_files=True)
    assert read_record(following.files.begun)["how"] == "resumed"  # type: ignore[index]


@slow
def test_one_that_wakes_late_finds_that_it_was_given_up(machine: Machine) -> None:
    spec = machine.spec(tiny_jobs.long())
    process = machine.start(spec)
    machine.at_step(spec, 2)
    os.killpg(process.pid, signal.SIGSTOP)  # a machine that stands still
    machine.until(spec, lambda: not machine.place.at_work(spec))
    following = replace(spec, number=2, overrides=(f"trainer.max_steps={step_of(spec) + 2}",))
    assert machine.start(following).wait(SECONDS) == 0
    before = StoredJob(machine.url, spec.job_id).state_names()
    os.killpg(process.pid, signal.SIGCONT)
    assert process.wait(SECONDS) == 3
    assert StoredJob(machine.url, spec.job_id).state_names() == before
    machine.place.fetch(following, all_files=True)
    assert following.files.read_end().exit_status == 0  # type: ignore[union-attr]


@slow
def test_one_that_was_written_off_does_not_begin(machine: Machine) -> None:
    spec = machine.spec()
    machine.place.publish(spec)
    assert machine.place.write_off(spec, End(-15, "stopped before it began"), unless_started=True)
    assert machine.start(spec).wait(SECONDS) == 3
    machine.place.fetch(spec, all_files=True)
    assert not spec.files.started.exists()
    assert spec.files.read_end() == End(-15, "stopped before it began", spec.files.read_end().at)  # type: ignore[union-attr]


@slow
def test_an_outage_of_the_store_is_outlived(machine: Machine) -> None:
    spec = machine.spec(tiny_jobs.long())
    process = machine.start(spec, changes="module.RENEW_SECONDS = module.PUSH_SECONDS = 0.5")
    machine.at_step(spec, 2)
    store = machine.folder / "store"
    store.rename(machine.folder / "away")
    store.write_text("a file where a directory was")
    time.sleep(3)
    assert process.poll() is None
    store.unlink()
    (machine.folder / "away").rename(store)
    reached = step_of(spec)
    machine.at_step(spec, reached + 2)


@slow
def test_one_that_cannot_renew_its_lease_stops_in_time(machine: Machine) -> None:
    spec = machine.spec(tiny_jobs.long())
    changes = "module.RENEW_SECONDS = module.PUSH_SECONDS = 0.3; module.LEASE_SECONDS = 1.5"
    process = machine.start(spec, changes=f"{changes}; module.LAST_PUSH_SECONDS = 60")
    machine.at_step(spec, 2)
    store = machine.folder / "store"
    store.rename(machine.folder / "away")
    store.write_text("a file where a directory was")
    attempt = read_record(spec.files.started)["pid"]  # type: ignore[index]
    until_gone(attempt)
    store.unlink()
    (machine.folder / "away").rename(store)  # what it has done until then is not lost
    assert process.wait(SECONDS) == 75
    machine.place.fetch(spec, all_files=True)
    assert spec.files.read_end().exit_status == 75  # type: ignore[union-attr]


@slow
def test_a_sweeps_database_is_stored_whole(machine: Machine) -> None:
    spec = machine.spec(tiny_jobs.sweep())
    assert machine.start(spec).wait(SECONDS) == 0
    machine.place.fetch(spec, all_files=True)
    with closing(sqlite3.connect(Path(spec.directory) / "run" / "study.db")) as study:
        assert study.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        states = study.execute("SELECT state FROM trials").fetchall()
    assert states == [("COMPLETE",), ("COMPLETE",)]


@slow
def test_an_attempt_does_not_outlive_what_stores_it(machine: Machine) -> None:
    spec = machine.spec(tiny_jobs.long())
    process = machine.start(spec)
    machine.at_step(spec, 1)
    process.kill()
    process.wait()
    until_gone(read_record(spec.files.started)["pid"])  # type: ignore[index]


def until_gone(pid: int) -> None:
    limit = time.monotonic() + SECONDS
    with suppress(psutil.Error):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < limit
            time.sleep(0.1)
