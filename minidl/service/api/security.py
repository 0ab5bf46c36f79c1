"""Who asks, and whether they may.

A request carries a token, in its header ``Authorization: Bearer`` or, from the web page, in a
cookie that no script can read. A cookie is sent by the browser by itself, so a change is taken with
one only from the service's own pages (``Sec-Fetch-Site``, or ``Origin``). Who sends wrong tokens is
slowed down by address, and what is refused is kept among the events.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minidl.service.api.parts import Parts, PartsOf
from minidl.service.records import Job, TokenRecord
from minidl.service.states import Role

log = logging.getLogger("minidl.service")

COOKIE = "minidl_token"
#: What a token looks like; anything else is not looked up.
TOKEN = re.compile(r"minidl_[A-Za-z0-9]{1,40}_[A-Za-z0-9_-]{43}")
READING = frozenset({"GET", "HEAD", "OPTIONS"})
#: Seconds in which wrong tokens are counted.
WINDOW = 60.0
#: Addresses, and good tokens, that are remembered.
REMEMBERED = 4096
#: Refusals in a window that are kept as events: of one address, or one user.
AUDITED = 20


class Throttle:
    """Slows down who guesses tokens.

    A token that was good before is let through in any case: who shares an address with someone
    that guesses (behind a proxy, all do) is not locked out by it.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.clock = clock
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._refusals: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    def seconds(self, address: str, token: str) -> int:
        """Return how long an address must wait before this token is looked up; 0: not at all."""
        since, count = self._failures.get(address, (0.0, 0))
        left = since + WINDOW - self.clock()
        if count < self.most or left <= 0 or _digest(token) in self._good:
            return 0
        return int(left) + 1

    def failed(self, address: str) -> int:
        """Count a wrong token; return how many there were from there in this window."""
        return self._count(self._failures, address)

    def refused(self, who: str) -> bool:
        """Count a refusal, and say whether it is to be kept."""
        return self._count(self._refusals, who) <= AUDITED

    def passed(self, token: str) -> None:
        """Remember a good token."""
        digest = _digest(token)
        self._good[digest] = None
        self._good.move_to_end(digest)
        while len(self._good) > REMEMBERED:
            self._good.popitem(last=False)

    def _count(self, counts: OrderedDict[str, tuple[float, int]], key: str) -> int:
        now = self.clock()
        since, count = counts.get(key, (now, 0))
        if now - since >= WINDOW:
            since, count = now, 0
        counts[key] = (since, count + 1)
        counts.move_to_end(key)
        while len(counts) > REMEMBERED:
            counts.popitem(last=False)
        return count + 1


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


# ---- who asks ------------------------------------------------------------------------------------

_bearer = HTTPBearer(auto_error=False, description="A token of `minidl token create`.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="What POST /session sets.")


async def principal(
    request: Request,
    parts: PartsOf,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    cookie: Annotated[str | None, Depends(_cookie)],
) -> TokenRecord:
    """Return the token of who asks.

    Raises
    ------
    HTTPException
        401: there is none that is known. 403: a cookie came from another page. 429: wait.
    """
    if bearer is not None:
        return await identified(parts, request, bearer.credentials)
    if cookie is None:
        raise HTTPException(
            401,
            "a token is wanted: Authorization: Bearer minidl_…",
            {"WWW-Authenticate": "Bearer"},
        )
    record = await identified(parts, request, cookie)
    if request.method not in READING and not from_own_page(request):
        await refuse(parts, request, record.user, "a request with a cookie from another page")
    return record


async def identified(parts: Parts, request: Request, token: str) -> TokenRecord:
    """Return what is known of a token.

    Raises
    ------
    HTTPException
        401: nothing. 429: wait before it is looked up.
    """
    address = request.client.host if request.client else "unknown"
    throttle = parts.throttle
    if seconds := throttle.seconds(address, token):
        raise HTTPException(
            429, "too many wrong tokens from this address", {"Retry-After": str(seconds)}
        )
    record = None
    if TOKEN.fullmatch(token):
        record = await parts.call(parts.store.authenticate, token)
    if record is None:
        parts.instruments.refusals.labels("token").inc()
        throttle.failed(address)
        if throttle.refused(address):
            await parts.call(
                parts.store.audit,
                "refused",
                actor="unknown",
                data={"why": "wrong token", "address": address, "asked": _asked(request)},
            )
        raise HTTPException(
            401,
            "the token is not known, has expired or was revoked",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    throttle.passed(token)
    return record


def from_own_page(request: Request) -> bool:
    """Whether a browser says that a page of this very service sends the request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    # Behind a proxy the scheme may be another; host and port are what the browser knows.
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


async def refuse(parts: Parts, request: Request, user: str, why: str) -> None:
    """Refuse what a known user asks, and keep that.

    Raises
    ------
    HTTPException
        403, always.
    """
    parts.instruments.refusals.labels("role").inc()
    if parts.throttle.refused(f"user {user}"):
        await parts.call(
            parts.store.audit,
            "refused",
            actor=user,
            job_id=request.path_params.get("job_id"),
            data={"why": why, "asked": _asked(request)},
        )
    raise HTTPException(403, why)


def _asked(request: Request) -> str:
    # The route and not the address: this may hold anything, a token among others.
    route = getattr(request.scope.get("route"), "path", "unknown")
    return f"{request.method} {route}"


def needs(role: Role) -> Callable[..., Coroutine[Any, Any, TokenRecord]]:
    """Return the dependency that lets through who has a role."""

    async def allowed(
        request: Request, parts: PartsOf, record: Annotated[TokenRecord, Depends(principal)]
    ) -> TokenRecord:
        if not record.role.allows(role):
            await refuse(
                parts,
                request,
                record.user,
                f"this needs the role `{role}`, and the token has `{record.role}`",
            )
        return record

    return allowed


Reader: TypeAlias = Annotated[TokenRecord, Depends(needs(Role.READ))]
Submitter: TypeAlias = Annotated[TokenRecord, Depends(needs(Role.SUBMIT))]
Admin: TypeAlias = Annotated[TokenRecord, Depends(needs(Role.ADMIN))]


async def own_job(parts: Parts, request: Request, record: TokenRecord, job_id: str) -> Job:
    """Return a job that the user may change: an admin any, others their own.

    Raises
    ------
    NotFoundError
        There is no such job.
    HTTPException
        403: it is another user's.
    """
    job: Job = await parts.call(parts.store.job, job_id)
    if record.role is not Role.ADMIN and job.owner != record.user:
        await refuse(parts, request, record.user, f"the job belongs to {job.owner}")
    return job


# ---- headers -------------------------------------------------------------------------------------

#: What the page may load: its own scripts, styles and pictures, nothing inline, in no frame.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Middleware that gives every answer the headers that it does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, guarded)


# ---- what is written down ------------------------------------------------------------------------

_SECRET = re.compile(r"(minidl_[A-Za-z0-9]{1,40}_)[A-Za-z0-9_-]{20,}")
_PASSWORD = re.compile(r"(://[^/:@\s]*):[^/@\s]*@")


def without_secrets(text: str) -> str:
    """Return a text without the secret part of tokens, and without passwords in addresses.

    Examples
    --------
    >>> without_secrets("postgresql://me:secret@db/jobs")
    'postgresql://me:***@db/jobs'
    """
    return _PASSWORD.sub(r"\1:***@", _SECRET.sub(r"\1***", text))


class RedactingFormatter(logging.Formatter):
    """Formats a line of the log without secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return without_secrets(super().format(record))
