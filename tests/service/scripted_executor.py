"""An executor whose attempts are as a test says: the scheduler's logic without any process."""

from __future__ import annotations

from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    ExecutorUnavailableError,
    Observation,
    PlacingError,
)

Key = tuple[str, int]


class ScriptedExecutor:
    """Places attempts in a dictionary, which is what survives a service: several may share it.

    ``ends_when_told`` is the status with which an attempt ends that is told to stop; None: it does
    not hear. ``refuses`` and ``silent`` are the texts of errors that it raises.
    """

    name = "local"

    def __init__(self, attempts: dict[Key, Observation] | None = None) -> None:
        self.attempts: dict[Key, Observation] = {} if attempts is None else attempts
        self.specs: dict[Key, AttemptSpec] = {}
        self.started: list[Key] = []
        self.told: list[Key] = []
        self.killed: list[Key] = []
        self.ends_when_told: int | None = 75
        self.refuses: str | None = None
        self.silent: str | None = None
        self.stumbles_at: str | None = None
        self.closed = False

    def start(self, spec: AttemptSpec) -> str:
        self._answer(spec)
        if self.refuses is not None:
            raise PlacingError(self.refuses)
        key = spec.job_id, spec.number
        self.specs[key] = spec
        if key not in self.attempts:
            alive = [k for k, seen in self.attempts.items() if k[0] == key[0] and seen.end is None]
            assert not alive, f"{alive} is alive, and {key} is to begin"
            self.started.append(key)
            self.attempts[key] = Observation("running")
        return f"handle of {spec.job_id}/{spec.number}"

    def observe(self, spec: AttemptSpec, handle: str | None) -> Observation:
        self._answer(spec)
        lost = Observation("lost", End(None, "killed before it had begun"))
        return self.attempts.setdefault((spec.job_id, spec.number), lost)

    def stop(self, spec: AttemptSpec, handle: str | None, *, kill: bool) -> None:
        self._answer(spec)
        key = spec.job_id, spec.number
        if kill:
            self.killed.append(key)
            self.end(key, -9, "killed by SIGKILL")
        elif key not in self.told:
            self.told.append(key)
            if self.ends_when_told is not None:
                self.end(key, self.ends_when_told)

    def end(self, key: Key, status: int | None, error: str | None = None) -> None:
        """Let an attempt end."""
        state = "lost" if status is None else "ended"
        self.attempts[key] = Observation(state, End(status, error, 1_000_000_000.0))

    def close(self) -> None:
        self.closed = True

    def _answer(self, spec: AttemptSpec) -> None:
        if self.silent is not None:
            raise ExecutorUnavailableError(self.silent)
        if self.stumbles_at == spec.job_id:
            raise RuntimeError("a mistake of the executor")
