"""Requests that somebody sends who means no good, or whose program is broken."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from service_app import CONFIG, MakeApp, ServiceApp

from minidl.service.api.containment import NoSuchFileError, open_beneath
from minidl.service.api.limits import Limits
from minidl.service.states import Role

pytest_plugins = ["service_app"]


@pytest.fixture(scope="module")
def job(app: ServiceApp) -> str:
    """A job with files of all kinds in its run directory, and secrets around it."""
    job_id = str(app.submit()["id"])
    files = app.files(job_id)
    (files.run / "plots").mkdir()
    (files.run / "plots/curves.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (files.run / "config.yaml").write_text("data: {}\n")
    (files.run / "report.html").write_text("<script>alert(1)</script>")
    (files.run / "größe ü.txt").write_text("ä")
    (files.run / "quo\"te;x='1.bin").write_bytes(b"")
    (files.run / "line\r\nX-Evil: 1.bin").write_bytes(b"")
    (files.run / os.fsdecode(b"\xff.bin")).write_bytes(b"")
    (files.run / ".lock").write_text("")
    (files.directory / "secret.txt").write_text("hush")
    (files.run / "link.txt").symlink_to(files.directory / "secret.txt")
    (files.run / "inside.txt").symlink_to(files.run / "config.yaml")
    (files.run / "up").symlink_to(files.directory)
    (files.run / "null").symlink_to("/dev/zero")
    os.mkfifo(files.run / "pipe")
    return job_id


# ---- artifacts -----------------------------------------------------------------------------------


def test_plain_files_are_listed_and_sent(app: ServiceApp, job: str) -> None:
    listed = app.ask("GET", f"/v1/jobs/{job}/artifacts").json()
    names = {file["path"] for file in listed["files"]}
    assert names == {
        "config.yaml",
        "größe ü.txt",
        "plots/curves.png",
        "quo\"te;x='1.bin",
        "report.html",
    }
    for name in names:
        url = f"/v1/jobs/{job}/artifacts/" + "".join(f"%{byte:02x}" for byte in name.encode())
        answer = app.ask("GET", url)
        assert answer.status_code == 200, name
        assert "x-evil" not in answer.headers
        assert "sandbox" in answer.headers["content-security-policy"]
        shown = answer.headers["content-disposition"].startswith("inline")
        assert shown == name.endswith((".yaml", ".png", ".txt")), name


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "%2e%2e%2fsecret.txt",
        "..%2fsecret.txt",
        "%252e%252e%252fsecret.txt",
        "..%5csecret.txt",
        "plots/../../secret.txt",
        "plots/%2e%2e/config.yaml",
        "%2e/config.yaml",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "config.yaml/",
        "config.yaml%00.png",
        "%00",
        "%c0%ae%c0%ae/secret.txt",
        "..;/secret.txt",
        "link.txt",
        "inside.txt",
        "up/secret.txt",
        "up/run/config.yaml",
        "null",
        "pipe",
        "plots",
        "",
        ".lock",
        "a/" * 60 + "b",
        "x" * 300,
        "%ed%a0%80",
        "file:///etc/passwd",
        "~root/.profile",
        "config.yaml?../../x=1#../..",
    ],
)
def test_nothing_else_is(app: ServiceApp, job: str, path: str) -> None:
    answer = app.ask("GET", f"/v1/jobs/{job}/artifacts/{path}")
    if path.startswith("config.yaml?"):
        assert answer.text == "data: {}\n"  # what follows is no part of the path
        return
    assert answer.status_code == 404
    assert "hush" not in answer.text


def test_the_job_is_no_way_out_either(app: ServiceApp) -> None:
    for job_id in ("..", "%2e%2e", "..%2f..", "a" * 16, "A" * 16, "x", "'; DROP TABLE jobs; --"):
        for what in ("", "/log", "/artifacts", "/config", "/artifacts/config.yaml"):
            assert app.ask("GET", f"/v1/jobs/{job_id}{what}").status_code in (404, 422)


def test_a_link_that_takes_a_directorys_place(tmp_path: Path) -> None:
    """The directory is looked at and opened in one: nothing can be swapped in between."""
    (tmp_path / "run/plots").mkdir(parents=True)
    (tmp_path / "run/plots/a.txt").write_text("good")
    descriptor = open_beneath(tmp_path / "run", "plots/a.txt")
    with os.fdopen(descriptor) as file:
        assert file.read() == "good"
    (tmp_path / "run/plots").rename(tmp_path / "elsewhere")
    (tmp_path / "run/plots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NoSuchFileError):
        open_beneath(tmp_path / "run", "plots/a.txt")
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").symlink_to(tmp_path / "moved")
    with pytest.raises(NoSuchFileError):
        open_beneath(tmp_path / "run", "b.txt")


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-3", 206, b"data"),
        ("bytes=-3", 206, b"{}\n"),
        ("bytes=100-", 416, b""),
        ("bytes=3-1", 400, None),
        ("lines=1-2", 400, None),
        ("bytes=" + "0-0," * 200 + "0-0", 200, b"data: {}\n"),
        ("bytes=" + "0-8," * 50 + "0-8", 206, b"data: {}\n"),
    ],
)
def test_ranges(app: ServiceApp, job: str, asked: str, status: int, content: Any) -> None:
    answer = app.ask("GET", f"/v1/jobs/{job}/artifacts/config.yaml", headers={"Range": asked})
    assert answer.status_code == status
    assert content is None or answer.content == content


def test_a_file_that_grows_is_sent_as_it_was(app: ServiceApp, job: str, tmp_path: Path) -> None:
    import asyncio

    from minidl.service.api.files import OpenFile

    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"1" * 10)
    answer = OpenFile(os.open(path, os.O_RDONLY), "metrics.jsonl")
    with path.open("ab") as file:
        file.write(b"2" * 10)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.sleep(60)

    scope = {"type": "http", "method": "GET", "headers": []}
    asyncio.run(answer(scope, receive, send))
    assert b"".join(message.get("body", b"") for message in sent) == b"1" * 10
    assert (b"content-length", b"10") in sent[0]["headers"]


# ---- bodies --------------------------------------------------------------------------------------

JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[" * 100_000, JSON, 422),
        (b'{"config": ' + b'{"a":' * 50_000, JSON, 422),
        (b'{"config": ' + b'{"a":' * 300 + b"1" + b"}" * 301, JSON, 422),
        (b'{"config": {"seed": ' + b"9" * 100_000 + b"}}", JSON, 422),
        (b'{"config": {"seed": 1e999}}', JSON, 422),
        (b'{"config": {"seed": NaN}}', JSON, 422),
        (b'{"config": "\\ud800"}', JSON, 422),
        (b'{"config": "x\\u0000y"}', JSON, 422),
        (b"\xff\xfe\x00", JSON, 422),
        (b"", JSON, 422),
        (b"null", JSON, 422),
        (b"[]", JSON, 422),
        (b"{}", JSON, 422),
        (json.dumps({"config": CONFIG, "role": "admin"}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "owner": "root"}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "priority": 101}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "priority": 10**400}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "timeout": 0}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "name": "a\x00b"}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "name": "a\r\nSet-Cookie: b"}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "name": "\u202eevil"}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "labels": {"a b": "c"}}).encode(), JSON, 422),
        (json.dumps({"config": CONFIG, "labels": {"a": "\ud800"}}).encode(), JSON, 422),
        (
            json.dumps(
                {"config": CONFIG, "labels": dict.fromkeys(map(str, range(40)), "x")}
            ).encode(),
            JSON,
            422,
        ),
        (json.dumps({"config": "x" * 1_100_000}).encode(), JSON, 422),
        (b"x" * 5_000_000, JSON, 413),
        (b"\xff\xfe", YAML, 422),
        (b"# " + b"x" * 1_100_000, YAML, 422),
        (b"x" * 5_000_000, YAML, 413),
        (CONFIG.encode(), {"Content-Type": "text/plain"}, 415),
        (CONFIG.encode(), {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (CONFIG.encode(), {}, 415),
    ],
)
def test_bodies(app: ServiceApp, body: bytes, headers: dict[str, str], status: int) -> None:
    answer = app.ask("POST", "/v1/jobs", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_bodies_that_announce_no_length(app: ServiceApp) -> None:
    chunks = iter([b"x" * 100_000] * 100)
    answer = app.ask("POST", "/v1/jobs", content=chunks, headers=YAML)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("path", "name"), [("/v1/tokens", "user"), ("/session", "token"), ("/v1/jobs/JOB/resume", "x")]
)
def test_other_bodies_are_small(app: ServiceApp, path: str, name: str) -> None:
    path = path.replace("JOB", app.submit()["id"])
    answer = app.ask("POST", path, user="root", json={name: "x" * 100_000})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=" + "z" * 17,
        "limit=0",
        "limit=1e9",
        "limit=-1",
        "state=nothing",
        "q=" + "x" * 300,
        "q=%00",
        "q=%ed%a0%80%00",
        "label=nothing",
        "label=%00=x",
        "owner=%0d%0aX-Evil:%201",
        "kind='",
    ],
)
def test_queries(app: ServiceApp, query: str) -> None:
    answer = app.ask("GET", f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("q", ["%25", "_", "'", '"', "%5c", "); DROP TABLE jobs; --", "\u2028x"])
def test_what_is_sought_is_only_text(app: ServiceApp, q: str) -> None:
    app.submit(name="plain")
    answer = app.ask("GET", "/v1/jobs", params={"q": q, "limit": 5})
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert [job for job in answer.json()["jobs"] if job["name"] == "plain"] == []


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "x" * 201, "ä", "a\tb", "a\x7fb"], ids=lambda key: repr(key[:9])
)
def test_idempotency_keys(app: ServiceApp, key: str) -> None:
    sent = {"Idempotency-Key": key.encode()}
    answer = app.ask("POST", "/v1/jobs", json={"config": CONFIG}, headers=sent)
    assert answer.status_code == 422


# ---- pictures ------------------------------------------------------------------------------------


FORM = "multipart/form-data"


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress(rows or bytes((width + 1) * height), 9)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("picture", "status"),
    [
        (png(28, 28), 200),
        (png(50_000, 50_000, b"\0" * 1000), 422),  # says that it has 2.5 billion pixels
        (png(5000, 4000), 422),  # 20 kB, 20 million pixels
        (png(28, 28)[:45], 422),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, 422),
        (b"GIF89a" + b"\0" * 100, 415),
        (b"PK\x03\x04" + b"\0" * 100, 415),
        (b"<svg onload='x'/>", 415),
        (b"", 415),
    ],
)
def test_pictures(trained: tuple[ServiceApp, str], picture: bytes, status: int) -> None:
    app, job = trained
    headers = {"Content-Type": "image/png"}
    answer = app.ask("POST", f"/v1/jobs/{job}/predict", content=picture, headers=headers)
    assert answer.status_code == status, answer.text


def test_pictures_in_forms(trained: tuple[ServiceApp, str]) -> None:
    app, job = trained
    path = f"/v1/jobs/{job}/predict"
    good = app.ask("POST", path, files={"image": ("a.png", io.BytesIO(png(28, 28)), "image/png")})
    assert good.status_code == 200
    assert good.json()["predictions"][0]["class"] in list("0123456789")
    many = {f"f{n}": ("a.png", io.BytesIO(png(28, 28)), "image/png") for n in range(5)}
    assert app.ask("POST", path, files=many).status_code == 400
    torn = app.ask(
        "POST",
        path,
        content=b"--x\r\nnonsense",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert torn.status_code in (400, 422)
    none = app.ask("POST", path, content=b"x", headers={"Content-Type": FORM})
    assert none.status_code in (400, 422)


# ---- secrets -------------------------------------------------------------------------------------


def test_a_token_is_told_once_and_kept_nowhere(make_app: MakeApp) -> None:
    app = make_app()
    made = app.ask("POST", "/v1/tokens", user="root", json={"user": "x", "role": "read"}).json()
    secret = made["token"].split("_", 2)[2]
    assert app.ask("GET", "/v1/me", user=made["token"]).json()["user"] == "x"
    app.ask("GET", f"/v1/jobs?q={made['token']}", user=made["token"])
    app.ask("GET", f"/v1/configs/{made['token']}", user=made["token"] + "x")
    told = app.ask("GET", "/v1/tokens", user="root").text
    told += str([event.data for event in app.store.events()])
    told += app.client.get("/metrics").text
    assert secret not in told
    for path in app.settings.data.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path


def test_nothing_secret_reaches_the_log(
    make_app: MakeApp, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    from minidl.service.api.security import RedactingFormatter

    app = make_app()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter("%(message)s"))
    logger = logging.getLogger("minidl.service")
    logger.addHandler(handler)
    try:
        token = app.token("x", Role.READ)
        try:
            raise RuntimeError(f"cannot ask postgresql://me:hush@db/x as {token}")
        except RuntimeError:
            logger.exception("failed with %s", token)
    finally:
        logger.removeHandler(handler)
    said = stream.getvalue()
    assert "RuntimeError: cannot ask postgresql://me:***@db/x as minidl_" in said
    assert token.split("_", 2)[2] not in said
    assert "hush" not in said


# ---- what fails ----------------------------------------------------------------------------------


def test_a_database_that_is_away(make_app: MakeApp) -> None:
    app = make_app()
    app.ask("GET", "/v1/me").raise_for_status()
    app.store.database.engine.dispose()
    for path in app.settings.data.glob("service.db*"):
        path.unlink()
    (app.settings.data / "service.db").mkdir()
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/me")):
        answer = app.ask(method, path, json={"config": CONFIG})
        assert answer.status_code == 503
        assert answer.json()["detail"] == "the database does not answer now"
        assert answer.headers["retry-after"] == "5"
    ready = app.client.get("/readyz")
    assert (ready.status_code, ready.json()["database"]) == (503, "does not answer")
    assert app.client.get("/healthz").status_code == 200
    assert app.client.get("/metrics").status_code == 200


def test_an_error_of_ours_tells_nothing(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    monkeypatch.setattr(app.store, "counts", lambda: 1 / 0)
    answer = app.client.get("/metrics")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "something in the service failed; its log says what"}


def test_quotas(make_app: MakeApp) -> None:
    app = make_app(max_queued=2, max_queued_total=3, limits=Limits())
    assert [app.submit()["queue_position"] for _ in range(2)] == [1, 2]
    answer = app.ask("POST", "/v1/jobs", json={"config": CONFIG})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert re.search("2 jobs of 'ada' are waiting", answer.json()["detail"])
    app.submit(user="bob")
    answer = app.ask("POST", "/v1/jobs", user="root", json={"config": CONFIG})
    assert (answer.status_code, "3 jobs are waiting" in answer.json()["detail"]) == (429, True)
