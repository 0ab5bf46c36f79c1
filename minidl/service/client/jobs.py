"""What the verbs ask a service: submit a job, find one, follow its log, fetch its files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from minidl.service.client.connection import Connection
from minidl.service.client.following import FOLLOW_PATIENCE, follow
from minidl.service.client.refusals import WRONG, ServiceError

Data = dict[str, Any]

ID_LENGTH = 16
_PAGE = 200


def submit(connection: Connection, config: str, *, key: str, **options: Any) -> tuple[Data, bool]:
    """Submit a config, and return the job, and whether it is new.

    Parameters
    ----------
    key
        The Idempotency-Key: under one key there is one job, however often this is sent.
    options
        ``name``, ``labels``, ``priority``, ``timeout``, ``max_retries``, ``ranks``; None is left
        to the service.
    """
    body = {"config": config, **{k: v for k, v in options.items() if v not in (None, {})}}
    response = connection.post("/v1/jobs", body, headers={"Idempotency-Key": key})
    return response.json(), response.headers.get("Idempotency-Replayed") != "true"


def check(connection: Connection, config: str, **options: Any) -> str:
    """Have a config checked as if it were submitted, and return the kind of job it makes."""
    body = {"config": config, **{k: v for k, v in options.items() if v not in (None, {})}}
    # It changes nothing, so it may be repeated.
    answer = connection.request("POST", "/v1/validate", repeatable=True, json=body).json()
    return str(answer["kind"])


def jobs(connection: Connection, *, limit: int | None, **filters: Any) -> tuple[list[Data], bool]:
    """Return the newest jobs, and whether there are more; ``limit`` None: all there are."""
    found: list[Data] = []
    wanted = {key: value for key, value in filters.items() if value not in (None, [], "")}
    cursor = None
    while limit is None or len(found) < limit:
        size = _PAGE if limit is None else min(limit - len(found), _PAGE)
        query = {**wanted, "limit": size, **({"cursor": cursor} if cursor else {})}
        page = connection.get("/v1/jobs", query)
        found += page["jobs"]
        cursor = page.get("next_cursor")
        if not cursor:
            break
    return found, bool(cursor)


def find_job(connection: Connection, text: str) -> Data:
    """Return the job of an id, or of the beginning of one.

    Raises
    ------
    ServiceError
        No job's id begins so, or several do.
    """
    if not re.fullmatch(rf"[0-9a-z]{{1,{ID_LENGTH}}}", text):
        wanted = f"an id is {ID_LENGTH} small letters and digits, or the first few of them"
        raise ServiceError(f"{text!r} is no job; {wanted} (minidl jobs)", WRONG)
    if len(text) == ID_LENGTH:
        job: Data = connection.get(f"/v1/jobs/{text}")
        return job
    found: list[Data] = []
    cursor = None
    while len(found) < 2:  # a search finds names too, so an id may stand on a later page
        query = {"q": text, "limit": _PAGE, **({"cursor": cursor} if cursor else {})}
        page = connection.get("/v1/jobs", query)
        found += [job for job in page["jobs"] if str(job["id"]).startswith(text)]
        cursor = page.get("next_cursor")
        if not cursor:
            break
    if len(found) == 1:
        return found[0]
    if not found:
        raise ServiceError(f"no job's id begins with {text}; `minidl jobs` lists them", WRONG)
    some = ", ".join(str(job["id"]) for job in found[:3])
    raise ServiceError(f"several jobs' ids begin with {text}: {some}, …; give more of it", WRONG)


def log(connection: Connection, job: str) -> Iterator[str]:
    """Yield a job's log, as far as it goes now."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a piece may end in a character
    offset = 0
    while True:
        response = connection.request("GET", f"/v1/jobs/{job}/log", params={"offset": offset})
        after = int(response.headers["X-Next-Offset"])
        yield decoder.decode(response.content, final=after <= offset)
        if after <= offset:
            return
        offset = after


def follow_log(
    connection: Connection, job: str, *, patience: float = FOLLOW_PATIENCE
) -> Iterator[str]:
    """Yield a job's log as it grows, until the job has ended."""
    for event in follow(connection, f"/v1/jobs/{job}/log/stream", patience=patience):
        yield event.data


def exit_status(job: Data, attempts: Sequence[Data]) -> int:
    """Return the status that a command ends with which followed a job to its end.

    That of the last attempt; 124 for a job that ran out of time, as timeout(1) has it; 130 for a
    cancelled one, as after Ctrl-C.
    """
    state = job.get("state")
    if state in _ENDS:
        return _ENDS[state]
    status = attempts[-1].get("exit_status") if attempts else None
    return status if isinstance(status, int) and 0 < status < 128 else 1


_ENDS = {"succeeded": 0, "timed_out": 124, "cancelled": 130}


def attempts(connection: Connection, job: str) -> list[Data]:
    """Return a job's attempts."""
    found: list[Data] = connection.get(f"/v1/jobs/{job}/attempts")["attempts"]
    return found


def points(connection: Connection, job: str) -> list[Data]:
    """Return all points of a job's journal; none where it has not begun."""
    found: list[Data] = []
    after = 0
    while True:
        page = connection.get(f"/v1/jobs/{job}/metrics", {"after": after})
        found += page["points"]
        if page.get("complete") or page["next"] <= after:
            return found
        after = page["next"]


def files(connection: Connection, job: str) -> tuple[list[Data], bool]:
    """Return the files of a job's run, and whether those are all."""
    page = connection.get(f"/v1/jobs/{job}/artifacts")
    return page["files"], page.get("complete", True)


def chosen(found: Sequence[Data], wanted: Sequence[str]) -> list[Data]:
    """Return the files that were asked for: each a file, or a directory with all below it.

    Raises
    ------
    ServiceError
        There is no such file.
    """
    if not wanted:
        return list(found)
    names: dict[str, Data] = {}
    for path in wanted:
        directory = path.rstrip("/") + "/"
        below = {
            one["path"]: one
            for one in found
            if one["path"] == path or one["path"].startswith(directory)
        }
        if not below:
            raise ServiceError(f"the job has no file {path}; `minidl job artifacts` lists them", 2)
        names |= below
    return list(names.values())


def fetch(connection: Connection, job: str, path: str, directory: Path) -> tuple[Path, int]:
    """Download a file of a job's run to the same place below a directory.

    Raises
    ------
    ServiceError
        The path would leave the directory: a service need not be trusted with this machine.
    """
    parts = PurePosixPath(path)
    target = directory.joinpath(*parts.parts)
    inside = target.resolve().is_relative_to(directory.resolve()) and parts.parts
    if not inside or parts.is_absolute() or ".." in parts.parts or set(path) & {"\\", ":"}:
        raise ServiceError(f"the service names a file {path!r}, which is not fetched", WRONG)
    size = connection.download(f"/v1/jobs/{job}/artifacts/{quote(path)}", target)
    return target, size
