"""The routes of the page: ``/`` and its files under ``/page/DIGEST/``.

The digest is that of all files together, and modules import one another by relative addresses: so
browsers may keep them for good, and never mix those of two versions. ``/`` names the digest and is
asked for anew each time.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

#: What the page may load and do: our own files, and nothing that is written into the page. Trusted
#: types make the browser refuse texts as markup, wherever a script would put them.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent."""

    content: bytes
    compressed: bytes
    kind: str
    tag: str


@cache
def page_files() -> tuple[str, dict[str, PageFile]]:
    """Return the digest of the page's files, and the files by name."""
    found = {
        path.name: path.read_bytes()
        for path in files(__package__).joinpath("static").iterdir()
        if path.name.rpartition(".")[2] in KINDS
    }
    together = hashlib.sha256()
    for name in sorted(found):
        together.update(f"{name}\0{len(found[name])}\0".encode() + found[name])
    digest = together.hexdigest()[:16]
    # Without these lines a browser would find the modules one after another.
    preload = "\n".join(
        f'<link rel="modulepreload" href="page/DIGEST/{name}">'
        for name in sorted(found)
        if name.endswith(".js")
    )
    page = found["index.html"].replace(b"<!-- PRELOAD -->", preload.encode())
    found["index.html"] = page.replace(b"DIGEST", digest.encode())
    return digest, {name: _page_file(name, content) for name, content in found.items()}


def _page_file(name: str, content: bytes) -> PageFile:
    return PageFile(
        content,
        gzip.compress(content, mtime=0),
        KINDS[name.rpartition(".")[2]],
        f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )


def add_page(app: FastAPI) -> None:
    """Add the page's routes to an app."""
    from fastapi import Request, Response
    from fastapi.responses import JSONResponse

    digest, found = page_files()

    def answer(request: Request, file: PageFile, headers: dict[str, str]) -> Response:
        headers |= {
            "ETag": file.tag,
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        tags = request.headers.get("if-none-match", "").split(",")
        if file.tag in [tag.strip().removeprefix("W/") for tag in tags]:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(file.compressed, headers=headers, media_type=file.kind)
        return Response(file.content, headers=headers, media_type=file.kind)

    async def page(request: Request) -> Response:
        headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
            "Referrer-Policy": "same-origin",
            "X-Frame-Options": "DENY",
        }
        return answer(request, found["index.html"], headers)

    async def page_file(request: Request) -> Response:
        name = request.path_params["name"]
        asked = request.path_params["digest"]
        # `index.html` has a route, and headers, of its own.
        if asked != digest or name not in found or name == "index.html":
            return JSONResponse({"detail": f"the page has no file {asked}/{name}"[:200]}, 404)
        return answer(
            request, found[name], {"Cache-Control": "public, max-age=31536000, immutable"}
        )

    app.add_route("/", page, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_route(
        "/page/{digest}/{name}", page_file, methods=["GET", "HEAD"], include_in_schema=False
    )
