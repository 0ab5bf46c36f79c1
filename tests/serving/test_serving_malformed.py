"""Whatever is sent, the answer is one that a client can act on: never 5xx, always with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidl.serving.answering import Settings
from minidl.serving.app import create_app
from minidl.serving.served_model import ServedModel

EXAMPLES = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

numbers = st.one_of(
    st.integers(-3, 300),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([10**400, 1e308, -0.0]),
)
leaves = st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=5))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=12,
)
rows = st.lists(st.lists(leaves, min_size=1, max_size=3), max_size=4)
documents = st.one_of(
    values,
    st.fixed_dictionaries({"inputs": st.one_of(values, rows)}),
    st.fixed_dictionaries({"inputs": rows, "instances": rows}),
)


@pytest.fixture(scope="module")
def servers(served: Callable[[str], ServedModel]) -> Iterator[dict[str, TestClient]]:
    limits = Settings(max_body=4096, max_queue=64)
    apps = {name: create_app(served(name), limits) for name in ("kinds", "digits")}
    with TestClient(apps["kinds"], raise_server_exceptions=False) as first:  # noqa: SIM117
        with TestClient(apps["digits"], raise_server_exceptions=False) as second:
            yield {"kinds": first, "digits": second}


def check(answer: Any) -> None:
    assert answer.status_code in (200, 400, 413, 415, 422), answer.text
    told = answer.json()
    assert ("predictions" in told) == (answer.status_code == 200)
    assert answer.status_code == 200 or (isinstance(told["detail"], str) and told["detail"])


@EXAMPLES
@given(path=st.sampled_from(["/predict", "/invocations"]), document=documents)
def test_json_of_any_kind(servers: dict[str, TestClient], path: str, document: Any) -> None:
    body = json.dumps(document).encode()
    answer = servers["kinds"].post(path, content=body, headers={"Content-Type": "application/json"})
    check(answer)
    if answer.status_code == 200:  # then it was well-formed, and finite
        samples = document.get("inputs", document.get("instances"))
        count = len(samples) if isinstance(samples[0], list) else 1
        assert len(answer.json()["predictions"]) == count


@EXAMPLES
@given(start=st.integers(0, 60), junk=st.binary(max_size=8), cut=st.integers(0, 60))
def test_damaged_json(servers: dict[str, TestClient], start: int, junk: bytes, cut: int) -> None:
    body = b'{"inputs": [[1.5, 2e3], [0, -17], [12345, 1]]}'
    body = (body[:start] + junk + body[start:])[: len(body) - cut + 10]
    check(
        servers["kinds"].post(
            "/predict", content=body, headers={"Content-Type": "application/json; charset=utf-8"}
        )
    )


TYPES = ["application/json", "image/png", "image/jpeg", "multipart/form-data; boundary=x", "a/b"]


@EXAMPLES
@given(
    path=st.sampled_from(["/predict", "/invocations", "/predict/image"]),
    kind=st.one_of(
        st.sampled_from(TYPES),
        st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=30),
    ),
    prefix=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"--x\r\n", b"["]),
    junk=st.binary(max_size=200),
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_any_bytes_of_any_type(
    servers: dict[str, TestClient], path: str, kind: str, prefix: bytes, junk: bytes
) -> None:
    check(servers["digits"].post(path, content=prefix + junk, headers={"Content-Type": kind}))


HEAD = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n"
)


# Starlette leaves it to the garbage collector to close the file of a part that has no end.
@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function SpooledTemporaryFile:Warning")
@EXAMPLES
@given(start=st.integers(0, 140), junk=st.binary(max_size=6), length=st.integers(0, 160))
def test_damaged_forms(
    servers: dict[str, TestClient], start: int, junk: bytes, length: int
) -> None:
    body = HEAD + b"\x89PNG\r\n\x1a\n0000\r\n--x--\r\n"
    body = (body[:start] + junk + body[start:])[:length]
    check(
        servers["digits"].post(
            "/predict/image",
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    )
