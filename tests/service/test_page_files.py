"""The page's files: how they are sent, and what may not stand in them.

The page itself is looked at in `test_page_in_a_browser`.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from minidl.service.page import add_page
from minidl.service.page.routes import page_files

DIGEST, FILES = page_files()
MODULES = [name for name in FILES if name.endswith(".js")]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI()
    add_page(app)
    with TestClient(app) as client:
        yield client


def test_the_page_names_files_that_are_there(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    named = re.findall(r'(?:href|src)="(page/[^"]+)"', page.text)
    assert f"page/{DIGEST}/main.js" in named
    assert f"page/{DIGEST}/page.css" in named
    for address in named:
        found = client.get(f"/{address}")
        assert found.status_code == 200, address
        assert "immutable" in found.headers["cache-control"]
        assert found.headers["x-content-type-options"] == "nosniff"
    assert (
        client.get(f"/page/{DIGEST}/main.js").headers["content-type"].startswith("text/javascript")
    )


def test_what_a_browser_has_is_not_sent_again(client: TestClient) -> None:
    for address in ("/", f"/page/{DIGEST}/page.css"):
        tag = client.get(address).headers["etag"]
        for sent in (tag, f"W/{tag}", f'"other", {tag}'):
            again = client.get(address, headers={"If-None-Match": sent})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_files_are_sent_as_they_are_or_compressed(client: TestClient) -> None:
    address = f"/page/{DIGEST}/chart.js"
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = client.get(address, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content == FILES["chart.js"].content
    assert gzip.decompress(FILES["chart.js"].compressed) == plain.content


@pytest.mark.parametrize(
    "address",
    [
        "/page/0123456789abcdef/main.js",  # of another version
        f"/page/{DIGEST}/missing.js",
        f"/page/{DIGEST}/index.html",
        f"/page/{DIGEST}/..%2froutes.py",
        f"/page/{DIGEST}/%2e%2e/routes.py",
        f"/page/{DIGEST}/",
    ],
)
def test_nothing_else_is_sent(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_the_policy_allows_our_own_files_only(client: TestClient) -> None:
    headers = client.get("/").headers
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["content-security-policy"]


def test_nothing_is_written_into_the_page() -> None:
    text = FILES["index.html"].content.decode()
    assert re.findall(r"<script[^>]*>", text) == [
        f'<script type="module" src="page/{DIGEST}/main.js">'
    ]
    assert "<style" not in text
    assert not re.search(r"\s(?:on\w+|style)=", text)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_makes_no_markup_and_loads_nothing_from_elsewhere(name: str) -> None:
    text = FILES[name].content.decode()
    # Own addresses are relative; the namespace of SVG is a name.
    elsewhere = re.findall(r"https?://[^\s\"'`]+", text)
    assert set(elsewhere) <= {"http://www.w3.org/2000/svg"}
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    for imported in re.findall(r'from "([^"]+)"', text):
        assert imported.startswith("./")
        assert imported[2:] in FILES
    assert len(text.splitlines()) < 400
    assert text.startswith("// ")
