"""The page at ``/docs``: every route with a command to try it, made from the OpenAPI description.

FastAPI's own pages load scripts from other machines, and show nothing where those cannot be
reached; this one is plain HTML.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

#: A content policy can name it by its digest.
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
pre { background: #f3f3f3; color: #111; padding: .6rem .8rem; overflow-x: auto; }
h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
table { border-collapse: collapse; }
td { padding: .1rem .8rem .1rem 0; vertical-align: top; }
"""


def page(description: dict[str, Any], address: str, *, header: str | None = None) -> str:
    """Return the page for an OpenAPI ``description`` of the server at ``address``.

    ``header`` is sent with every command.
    """
    curl = "curl" if header is None else f'curl -H "{header}"'
    # Where there is an example, it is asked for: that of a model may be large.
    start = f"{curl} -s {address}/example | " if "/example" in description["paths"] else ""
    title = escape(description["info"]["title"])
    routes = [
        _route(method, path, route, address, curl, start)
        for path, methods in description["paths"].items()
        for method, route in methods.items()
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>minidl {escape(description['info']['version'])}. For programs: "
        '<a href="openapi.json">openapi.json</a>.</p>' + "".join(routes) + "</body></html>\n"
    )


def _route(
    method: str, path: str, route: dict[str, Any], address: str, curl: str, start: str
) -> str:
    body = route.get("requestBody")
    if method != "get" and (method != "post" or body is None):  # curl says those two by itself
        curl += f" -X {method.upper()}"
    commands = "\n".join(_commands(path, body, address, curl, start))
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in route["responses"].items()
    )
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(route['summary'])}</p>"
        f"<pre>{escape(commands)}</pre><table>{answers}</table>"
    )


def _commands(
    path: str, body: dict[str, Any] | None, address: str, curl: str, start: str
) -> list[str]:
    """Return commands that ask a route, one a type of body."""
    if body is None:
        return [f"{curl} {address}{path}"]
    commands = []
    for kind, media in body["content"].items():
        if kind == "multipart/form-data":
            (name,) = media["schema"]["required"]
            commands.append(f"{curl} -F {name}=@picture.png {address}{path}")
        elif kind == "application/json":
            data, piped = "@-" if start else "@body.json", start
            if "example" in media:
                data, piped = f"'{json.dumps(media['example'])}'", ""
            commands.append(f"{piped}{curl} {address}{path} --json {data}")
        else:
            family, _, suffix = kind.partition("/")
            file = "picture" if family == "image" else "config"
            commands.append(
                f"{curl} {address}{path} -H 'Content-Type: {kind}' --data-binary @{file}.{suffix}"
            )
    return commands
