"""Asking a service over HTTP, and asking again where that can do no harm.

httpx2 sends (typed, with timeouts, streams and server-sent events of its own), tenacity says when
to send again. What is repeated: whatever was never received (the connection was refused); reading;
and a submission, because its Idempotency-Key lets the service answer the second with the job of
the first. Cancelling and the like are not: the first try may have done it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import tenacity

from minidl.service.client.refusals import ServiceError, certificate_fault, no_answer, refusal
from minidl.service.client.settings import Address

T = TypeVar("T")

#: Seconds for which a request is sent again; a restart of the service takes less.
PATIENCE = 10.0
TIMEOUT = httpx2.Timeout(30, connect=5)
#: A stream says something every 15 s, if only that it is there.
STREAM_TIMEOUT = httpx2.Timeout(30, connect=5, read=60)
#: May have another answer in a moment: quota of requests, restart, database away.
_PASSING = frozenset({429, 502, 503, 504})


class _TryAgainError(Exception):
    """Carries the refusal that the next try may not get."""

    def __init__(self, refused: ServiceError) -> None:
        super().__init__(str(refused))
        self.refused = refused


class Connection:
    """A service at an address; a context manager.

    Parameters
    ----------
    patience
        Seconds for which what can be sent again is; by default ``PATIENCE``.
    say
        Told once a request when there is a reason to wait.
    """

    def __init__(
        self,
        address: Address,
        *,
        patience: float | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.address = address
        self.patience = PATIENCE if patience is None else patience
        self.say = say
        headers = {"Accept": "application/json"}
        if address.token is not None:
            headers["Authorization"] = f"Bearer {address.token}"
        # Redirects are not followed, so the token goes nowhere else. A proxy of the environment
        # cannot reach this machine's own loopback address: with a transport given, none is asked.
        direct = httpx2.HTTPTransport() if address.on_this_machine else None
        self._http = httpx2.Client(
            base_url=address.url, headers=headers, timeout=TIMEOUT, transport=direct
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of a page."""
        return self.request("GET", path, params=params).json()

    def post(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """Post JSON; it is repeated only with an ``Idempotency-Key`` among the headers."""
        repeatable = headers is not None and "Idempotency-Key" in headers
        return self.request("POST", path, repeatable=repeatable, json=body, headers=headers)

    def delete(self, path: str) -> None:
        """Delete what a path names."""
        self.request("DELETE", path)

    def request(
        self, method: str, path: str, *, repeatable: bool | None = None, **how: Any
    ) -> httpx2.Response:
        """Send a request, again if need be, and return the answer.

        Raises
        ------
        ServiceError
            No service answers, or it refuses.
        """
        again = method == "GET" if repeatable is None else repeatable
        return self._patiently(lambda: self._once(method, path, again, how), self.patience)

    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, patience: float | None = None
    ) -> httpx2.Response:
        """Open an answer that is read as it comes; the caller closes it.

        Raises
        ------
        ServiceError
            As `request`.
        """
        how = {"headers": headers, "timeout": STREAM_TIMEOUT, "stream": True}
        wait = self.patience if patience is None else patience
        return self._patiently(lambda: self._once("GET", path, True, how), wait)

    def download(self, path: str, target: Path) -> int:
        """Write what a path holds into a file, whole or not at all; return its bytes."""
        return self._patiently(lambda: self._download(path, target), self.patience)

    def _download(self, path: str, target: Path) -> int:
        how = {"timeout": STREAM_TIMEOUT, "stream": True, "headers": {"Accept": "*/*"}}
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name[:100]}.{os.getpid()}.part")
        try:
            with closing(self._once("GET", path, True, how)) as response, part.open("wb") as file:
                count = sum(file.write(chunk) for chunk in self._chunks(response))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return count

    def _chunks(self, response: httpx2.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except httpx2.TransportError as error:
            raise _TryAgainError(no_answer(error, self.address)) from error

    def _once(self, method: str, path: str, again: bool, how: Mapping[str, Any]) -> httpx2.Response:
        options = dict(how)
        stream = options.pop("stream", False)
        request = self._http.build_request(method, path, **options)
        try:
            response = self._http.send(request, stream=stream)
            if not response.is_success:
                response.read()
        except httpx2.TransportError as error:
            refused = no_answer(error, self.address)
            received = not isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout))
            if (received and not again) or certificate_fault(error):
                raise refused from error
            raise _TryAgainError(refused) from error
        if response.is_success:
            return response
        refused = refusal(response, self.address)
        response.close()
        if again and response.status_code in _PASSING:
            raise _TryAgainError(refused)
        raise refused

    def _patiently(self, send: Callable[[], T], patience: float) -> T:
        def warn(state: tenacity.RetryCallState) -> None:
            if state.attempt_number == 1 and state.outcome is not None:
                error = state.outcome.exception()
                status = error.refused.status if isinstance(error, _TryAgainError) else None
                what = "does not answer" if status is None else f"is not ready ({status})"
                self.say(f"{self.address.url} {what}; trying again for {patience:.0f} s")

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgainError),
            stop=tenacity.stop_before_delay(patience),
            wait=_pause,
            before_sleep=warn,
            reraise=True,
        )
        try:
            return retrying(send)
        except _TryAgainError as error:
            raise error.refused from error.__cause__


_backoff = tenacity.wait_exponential(multiplier=0.2, max=3) + tenacity.wait_random(0, 0.2)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return how long to wait: what the service asks for, else longer each time."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.refused.retry_after if isinstance(error, _TryAgainError) else None
    return max(asked or 0.0, _backoff(state))
