"""Rows of the tables as records, and back."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping

from minidl.service import tables
from minidl.service.records import Attempt, Event, Job, NewJob, TokenRecord
from minidl.service.states import AttemptState, JobKind, JobState, Mode, Role, StopReason
from minidl.train.strict_json import strict_json

#: Of a job, all that lists show: not its config.
JOB_COLUMNS = [
    column
    for column in tables.jobs.c
    if column.name not in ("idempotency_key", "submission_digest")
]
#: Crockford's base32: its characters are in the order of ASCII, so ids sort as their numbers do.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH = 16
_RANDOM_BITS = 30


def job_of(row: RowMapping, *, config: RowMapping | None = None) -> Job:
    """Return a row of the jobs, with its config where it was read."""
    values: dict[str, Any] = {column.name: row[column] for column in JOB_COLUMNS}
    values["kind"] = JobKind(values["kind"])
    values["state"] = JobState(values["state"])
    values["mode"] = Mode(values["mode"])
    if values["stop_reason"] is not None:
        values["stop_reason"] = StopReason(values["stop_reason"])
    if config is not None:
        values["config_text"] = config[tables.configs.c.text]
        values["config"] = config[tables.configs.c.resolved]
    return Job(**values)


def attempt_of(row: RowMapping) -> Attempt:
    """Return a row of the attempts."""
    values: dict[str, Any] = {column.name: row[column] for column in tables.attempts.c}
    values["state"] = AttemptState(values["state"])
    values["mode"] = Mode(values["mode"])
    return Attempt(**values)


def event_of(row: RowMapping) -> Event:
    """Return a row of the events."""
    return Event(**{column.name: row[column] for column in tables.events.c})


def token_of(row: RowMapping) -> TokenRecord:
    """Return a row of the tokens, without the digest."""
    columns = [column for column in tables.tokens.c if column.name != "digest"]
    values: dict[str, Any] = {column.name: row[column] for column in columns}
    values["role"] = Role(values["role"])
    return TokenRecord(**values)


def new_id(now: float, *, after: str | None) -> str:
    """Return an id that sorts by time: 50 bits of milliseconds, 30 of chance.

    Ids never go back, even where the clock does: then the last one is counted on.

    Examples
    --------
    >>> new_id(0.0, after="0000000000zzzzzz")
    '0000000001000000'
    """
    number = (int(now * 1000) << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    if after is not None:
        last = 0
        for character in after:
            last = last * 32 + ALPHABET.index(character)
        number = max(number, last + 1)
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(ID_LENGTH)))


def submission_digest(new: NewJob) -> str:
    """Return what tells two submissions with one Idempotency-Key apart."""
    said: Mapping[str, Any] = {
        "kind": new.kind.value,
        "config": new.config_text,
        "name": new.name,
        "labels": dict(sorted(new.labels.items())),
        "priority": new.priority,
        "timeout": new.timeout,
        "max_retries": new.max_retries,
    }
    if new.ranks != 1:  # a submission from before there were ranks is repeated as it was
        said = {**said, "ranks": new.ranks}
    return hashlib.sha256(strict_json(said).encode()).hexdigest()


def storable(text: str | None) -> str | None:
    r"""Return text that both databases can hold: without NUL and halves of characters.

    Examples
    --------
    >>> storable("a\0b")
    'a�b'
    """
    if text is None:
        return None
    whole = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
