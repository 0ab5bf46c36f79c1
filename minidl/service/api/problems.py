"""How what went wrong is told: a status, and JSON with `detail`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from minidl.service.api.documents import ConfigRefusal, Refusal
from minidl.service.store.errors import (
    KeyReusedError,
    NotFoundError,
    QuotaError,
    StoreUnavailableError,
    WrongStateError,
)
from minidl.serving.batching import QueueFullError
from minidl.serving.inputs import InputError
from minidl.train.checkpoint import CheckpointError
from minidl.train.config import ConfigError
from minidl.train.config.problems import PROBLEMS_SHOWN

log = logging.getLogger("minidl.service")

#: Seconds after which a client may try again.
DATABASE_SECONDS, QUOTA_SECONDS, MODEL_SECONDS = 5, 30, 1

_STATUSES: dict[int, str] = {
    400: "The request is not well-formed",
    401: "There is no token, or none that is known",
    403: "The token does not allow this",
    404: "There is no such thing",
    409: "The job's state, or an earlier use of the Idempotency-Key, does not allow this",
    413: "The body is too large",
    415: "The body is of a type that is not taken",
    422: "Something in the request is not right; says what, and what would be",
    429: "Too much at once; try again after the seconds in Retry-After",
    503: "The database, or a model's queue, does not answer now; see Retry-After",
}


def told(*statuses: int, config: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI is told of a route's errors."""
    every = sorted({400, 401, 403, 413, 429, 503, *statuses})  # which any route may answer
    return {
        status: {
            "description": _STATUSES[status],
            "model": ConfigRefusal if config and status == 422 else Refusal,
        }
        for status in every
    }


def answer(status: int, detail: str, *, after: int | None = None, **more: Any) -> JSONResponse:
    """Return the answer that tells an error."""
    headers = None if after is None else {"Retry-After": str(after)}
    return JSONResponse({"detail": detail} | more, status, headers)


def config_answer(error: ConfigError) -> JSONResponse:
    """Return what is told of a config that cannot be run."""
    found = [problem.as_data() for problem in error.problems[:PROBLEMS_SHOWN]]
    first, count = error.problems[0], len(error.problems)
    where = f"line {first.line}, column {first.column}: " if first.line else ""
    more = f" (and {count - 1} more problems)" if count > 1 else ""
    return answer(422, f"{where}{first.message}{more}", problems=found)


def add_answers(app: FastAPI) -> None:
    """Say how each error becomes an answer."""
    simple: Mapping[type[Exception], tuple[int, int | None]] = {
        NotFoundError: (404, None),
        WrongStateError: (409, None),
        KeyReusedError: (409, None),
        QuotaError: (429, QUOTA_SECONDS),
        QueueFullError: (503, MODEL_SECONDS),
    }
    for kind, (status, after) in simple.items():
        app.add_exception_handler(kind, _teller(status, after))

    @app.exception_handler(ConfigError)
    async def wrong_config(request: Request, error: ConfigError) -> Response:
        return config_answer(error)

    @app.exception_handler(InputError)
    async def wrong_input(request: Request, error: InputError) -> Response:
        answerer = getattr(request.state, "answerer", None)
        refusal: Response = answer(422, str(error)) if answerer is None else answerer.refusal(error)
        return refusal

    @app.exception_handler(CheckpointError)
    async def no_model(request: Request, error: CheckpointError) -> Response:
        log.warning("a model cannot be used: %s", error)
        return answer(409, "the model cannot be used: its files are missing or damaged")

    @app.exception_handler(StoreUnavailableError)
    async def no_database(request: Request, error: StoreUnavailableError) -> Response:
        log.error("%s", error)
        return answer(503, "the database does not answer now", after=DATABASE_SECONDS)

    @app.exception_handler(RequestValidationError)
    async def wrong_request(request: Request, error: RequestValidationError) -> Response:
        return answer(422, first_of(error.errors()))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        return JSONResponse({"detail": error.detail}, error.status_code, headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; it is counted

    @app.exception_handler(500)
    async def failed(request: Request, error: Exception) -> Response:
        return answer(500, "something in the service failed; its log says what")


def _teller(status: int, after: int | None) -> Any:
    async def tell(request: Request, error: Exception) -> Response:
        return answer(status, str(error), after=after)

    return tell


def first_of(errors: Sequence[Any]) -> str:
    """Say in a line what is wrong with a request, and where."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(errors) - 1} more problems)" if len(errors) > 1 else ""
    return f"{place}: {first['msg']}{more}"
