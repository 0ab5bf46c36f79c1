"""What a request carries, read within limits.

The size of a body is held while it arrives, before anything is kept or parsed: a client that
announces too much, or sends more than it may, is answered 413 and no more is read.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minidl.autograd.primitive import Array
from minidl.data import decode_image
from minidl.serving.inputs import InputError

#: What a picture's file begins with, by Pillow's name of the format.
SIGNATURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
PICTURE_TYPES = ("image/png", "image/jpeg")


class BodyLimit:
    """Middleware that refuses bodies that are too large.

    Parameters
    ----------
    limit
        Bytes that a request may have; told the request's scope.
    """

    def __init__(self, app: ASGIApp, limit: Callable[[Scope], int]) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what is read of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit(scope)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            error = _too_large(f"the body has {int(announced)} bytes", limit)
            answer = JSONResponse({"detail": error.detail}, error.status_code)
            await answer(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:  # bodies in chunks announce no length
                raise _too_large("the body is too large", limit)
            return message

        await self.app(scope, counted, send)


def _too_large(what: str, limit: int) -> HTTPException:
    return HTTPException(413, f"{what}; the limit is {limit} bytes")


def media_type(request: Request) -> str:
    """Return the body's media type, without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_body(request: Request) -> bytes:
    """Return the body of a request that says it is JSON.

    Raises
    ------
    HTTPException
        415: it says something else.
    """
    if media_type(request) != "application/json":
        raise _unsupported(request, "application/json")
    return await request.body()


async def picture_body(request: Request) -> bytes:
    """Return the bytes of the one picture that a request carries, in a form or as its body.

    Raises
    ------
    HTTPException
        415: its type is neither, or it is neither PNG nor JPEG. 422: there is not one file.
    """
    kind = media_type(request)
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=8) as form:
            files = [part for part in form.values() if isinstance(part, UploadFile)]
            if len(files) != 1:
                raise InputError(
                    "the form has no file; send one: curl -F image=@digit.png, or the picture as "
                    "the body with its type: curl --data-binary @digit.png -H 'Content-Type: "
                    "image/png'"
                )
            content = await files[0].read()
    elif kind in PICTURE_TYPES:
        content = await request.body()
    else:
        raise _unsupported(request, "multipart/form-data, image/png or image/jpeg")
    if not content.startswith(tuple(SIGNATURES.values())):
        raise HTTPException(415, "the file is neither PNG nor JPEG (by its first bytes)")
    return content


def read_picture(content: bytes, shape: tuple[int, int, int], max_pixels: int) -> Array:
    """Return a picture as one sample in a batch, ``(1, *shape)``, as `minidl predict` reads it.

    Raises
    ------
    InputError
        The picture is damaged, or has too many pixels.
    """
    try:
        pixels = decode_image(
            io.BytesIO(content),
            sample_shape=shape,
            formats=tuple(SIGNATURES),
            max_pixels=max_pixels,
        )
    except ValueError as error:
        # Pillow names the object in memory that it reads from, which tells nobody anything.
        raise InputError(str(error).partition(" <_io.BytesIO")[0]) from error
    return pixels[None]


def _unsupported(request: Request, wanted: str) -> HTTPException:
    given = request.headers.get("content-type")
    return HTTPException(415, f"Content-Type must be {wanted}; got {given or 'none'}")
