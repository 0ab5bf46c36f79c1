"""What a service answered instead of what was wanted, or that none answered, in words.

Exit statuses: 2 where what was given is wrong (token, job, config), 1 where the service will not
do it now (the job's state, a quota), 69 (sysexits' EX_UNAVAILABLE) where no service answers; so a
script can tell a job that failed from a service that is away.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import httpx2

from minidl.service.client.settings import Address

WRONG, REFUSED, UNAVAILABLE = 2, 1, 69


class ServiceError(Exception):
    """The service refused, or none answered.

    Attributes
    ----------
    exit_status : int
        What the command ends with.
    status : int or None
        The HTTP status; None where there was no answer.
    problems : list of dict
        What is wrong with a config, place by place; else empty.
    retry_after : float or None
        Seconds after which it may be otherwise, where the service says so.
    """

    def __init__(
        self,
        message: str,
        exit_status: int,
        *,
        status: int | None = None,
        problems: list[dict[str, Any]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.exit_status = exit_status
        self.status = status
        self.problems = problems or []
        self.retry_after = retry_after


def no_answer(error: httpx2.RequestError, address: Address) -> ServiceError:
    """Say that no service answers, why, and what may help."""
    if certificate := certificate_fault(error):
        message = f"{address.url}: its certificate is not trusted: {certificate}"
        return ServiceError(f"{message}; SSL_CERT_FILE can name one more authority", UNAVAILABLE)
    if isinstance(error, httpx2.ConnectError):
        hint = (
            "is `minidl service` running?"
            if address.on_this_machine
            else "are host and port right, and may this machine reach them?"
        )
        why = _reason(error)
        message = f"no service answers at {address.url} ({why}); {hint} Another address is given "
        return ServiceError(f"{message}by --url, MINIDL_SERVICE_URL or `minidl login`", UNAVAILABLE)
    if isinstance(error, httpx2.TimeoutException):
        return ServiceError(f"{address.url} did not answer in time", UNAVAILABLE)
    if isinstance(error, httpx2.ProxyError):
        message = f"the proxy that leads to {address.url} refuses: {_reason(error)}"
        return ServiceError(f"{message}; NO_PROXY can except the host", UNAVAILABLE)
    message = f"the connection to {address.url} broke before the answer was whole"
    return ServiceError(f"{message}: {_reason(error)}", UNAVAILABLE)


def refusal(response: httpx2.Response, address: Address) -> ServiceError:
    """Say what an answer with a status of 3xx, 4xx or 5xx means; its body must have been read."""
    status, body = response.status_code, _body(response)
    detail = _detail(body) or f"{status} {response.reason_phrase}"
    retry_after = _seconds(response.headers.get("Retry-After"))
    problems = [one for one in body.get("problems") or [] if isinstance(one, dict)]
    after = f"; try again in {retry_after:.0f} s" if retry_after else ""
    exit_status = WRONG
    if status in (301, 302, 303, 307, 308):
        where = response.headers.get("Location", "elsewhere")
        detail = f"{address.url} points to {where}: is that the service's address?"
    elif status == 401:
        given = "wants a token" if address.token is None else "does not accept the token"
        detail = f"{address.url} {given} ({detail}); `minidl login {address.url}` stores one"
    elif status == 403:
        detail = f"not allowed: {detail}"
    elif status == 404 and not _detail(body):
        detail = f"{address.url} does not know this page: is it a minidl service?"
    elif status == 413:
        detail = f"too large for the service: {detail}"
    elif status == 429:
        detail, exit_status = f"{detail}{after}", REFUSED
    elif status in (409, 410, 423):
        exit_status = REFUSED
    elif status in (502, 503, 504):
        detail, exit_status = f"the service is not ready: {detail}{after}", UNAVAILABLE
    elif status >= 500:
        detail = f"the service made a mistake ({detail}); its own log says which"
        exit_status = UNAVAILABLE
    return ServiceError(
        detail, exit_status, status=status, problems=problems, retry_after=retry_after
    )


def _body(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except (ValueError, httpx2.ResponseNotRead):
        return {}
    return body if isinstance(body, dict) else {}


def _detail(body: Mapping[str, Any]) -> str:
    """Return the text of ``detail``; FastAPI's own checks give a list of places and messages."""
    detail = body.get("detail")
    if isinstance(detail, list):
        parts = [
            f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg', one)}"
            for one in detail
            if isinstance(one, dict)
        ]
        return "; ".join(parts)
    return detail if isinstance(detail, str) else ""


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None


def _reason(error: BaseException) -> str:
    """Return the operating system's words for what lies below an error of the library."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror[:1].lower() + cause.strerror[1:]
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def certificate_fault(error: BaseException) -> str | None:
    """Say why a certificate is not trusted; None where the error is another."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return str(cause.verify_message)
        cause = cause.__cause__ or cause.__context__
    return None
