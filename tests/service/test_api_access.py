"""Who may do what: every route, asked with every kind of token."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi.routing import APIRoute
from service_app import CONFIG, MakeApp, ServiceApp

from minidl.service.api.limits import Limits
from minidl.service.states import JobState, Role

pytest_plugins = ["service_app"]

#: Method, path, body; then the status for: nobody, a reader, another submitter, the owner, an
#: admin. JOB is a job of ada's that waits, ENDED one that has ended.
ROUTES: list[tuple[str, str, Any, tuple[int, int, int, int, int]]] = [
    ("GET", "/healthz", None, (200, 200, 200, 200, 200)),
    ("GET", "/readyz", None, (200, 200, 200, 200, 200)),
    ("GET", "/version", None, (200, 200, 200, 200, 200)),
    ("GET", "/metrics", None, (200, 200, 200, 200, 200)),
    ("GET", "/openapi.json", None, (200, 200, 200, 200, 200)),
    ("GET", "/docs", None, (200, 200, 200, 200, 200)),
    ("GET", "/", None, (200, 200, 200, 200, 200)),
    ("GET", "/v1/me", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/schema", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/configs", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/configs/{name}:quickstart", None, (401, 200, 200, 200, 200)),
    ("POST", "/v1/validate", {"config": CONFIG}, (401, 200, 200, 200, 200)),
    ("POST", "/v1/jobs", {"config": CONFIG}, (401, 403, 201, 201, 201)),
    ("GET", "/v1/jobs/{job_id}:JOB", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/attempts:JOB", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/events:JOB", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/config:JOB", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/log:JOB", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/metrics:JOB", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/confusion:JOB", None, (401, 404, 404, 404, 404)),
    ("GET", "/v1/jobs/{job_id}/artifacts:JOB", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/artifacts/{path}:JOB", None, (401, 404, 404, 404, 404)),
    ("GET", "/v1/jobs/{job_id}/signature:JOB", None, (401, 404, 404, 404, 404)),
    ("POST", "/v1/jobs/{job_id}/predict:JOB", {"inputs": []}, (401, 404, 404, 404, 404)),
    ("POST", "/v1/models/{name}/predict:digits", {"inputs": []}, (401, 409, 409, 409, 409)),
    ("GET", "/v1/jobs/{job_id}/log/stream:ENDED", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/metrics/stream:ENDED", None, (401, 200, 200, 200, 200)),
    ("GET", "/v1/jobs/{job_id}/events/stream:ENDED", None, (401, 200, 200, 200, 200)),
    ("POST", "/v1/jobs/{job_id}/cancel:JOB", None, (401, 403, 403, 200, 200)),
    ("POST", "/v1/jobs/{job_id}/retry:ENDED", None, (401, 403, 403, 200, 200)),
    ("POST", "/v1/jobs/{job_id}/resume:ENDED", {}, (401, 403, 403, 200, 200)),
    ("DELETE", "/v1/jobs/{job_id}:ENDED", None, (401, 403, 403, 204, 204)),
    ("GET", "/v1/tokens", None, (401, 403, 403, 403, 200)),
    ("POST", "/v1/tokens", {"user": "new", "role": "read"}, (401, 403, 403, 403, 201)),
    ("DELETE", "/v1/tokens/{token_id}:TOKEN", None, (401, 403, 403, 403, 200)),
    ("DELETE", "/session", None, (403, 403, 403, 403, 403)),  # no browser's page asks
]
#: Routes that a table of single answers cannot hold, and where they are tested.
ELSEWHERE = {
    ("GET", "/v1/events/stream"): "it has no end: test_api_streams",
    ("POST", "/session"): "it takes a token: below",
}
WHO = (None, "eve", "bob", "ada", "root")


def test_the_table_has_every_route(app: ServiceApp) -> None:
    known = {(method, path.partition(":")[0]) for method, path, _, _ in ROUTES} | set(ELSEWHERE)
    stated = {
        (method.upper(), path)
        for path, methods in app.app.openapi()["paths"].items()
        for method in methods
    }
    assert stated <= known
    there = {
        (method, route.path.replace(":path}", "}"))
        for route in app.app.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert there <= known


@pytest.mark.parametrize(("method", "path", "body", "statuses"), ROUTES)
def test_access(app: ServiceApp, method: str, path: str, body: Any, statuses: Any) -> None:
    for user, status in zip(WHO, statuses, strict=True):
        answer = _asked(app, method, path, body, user)
        assert answer.status_code == status, (user, answer.text)


def _asked(app: ServiceApp, method: str, path: str, body: Any, user: str | None) -> Any:
    address, _, what = path.partition(":")
    if what in ("JOB", "ENDED"):
        what_id = app.submit()["id"]
        if what == "ENDED":
            app.end(what_id)
    else:
        what_id = what
    if what == "TOKEN":
        what_id = app.store.create_token(user="x", role=Role.READ, actor="test")[0].id
    for name in ("{job_id}", "{name}", "{token_id}"):
        address = address.replace(name, what_id)
    address = address.replace("{path}", "metrics.jsonl")
    return app.ask(method, address, user=user, **({} if body is None else {"json": body}))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("expired", "has expired"),
        ("revoked", "was revoked"),
        ("of another secret", "not known"),
        ("no token at all", "not known"),
    ],
)
def test_tokens_that_hold_no_more(make_app: MakeApp, kind: str, why: str) -> None:
    app = make_app()
    text = app.token("ada", Role.ADMIN, ttl=0.01 if kind == "expired" else None)
    if kind == "expired":
        time.sleep(0.02)
    elif kind == "revoked":
        app.ask("GET", "/v1/me", user=text).raise_for_status()
        token_id = text.split("_")[1]
        assert app.ask("DELETE", f"/v1/tokens/{token_id}", user="root").json()["revoked_at"]
    elif kind == "of another secret":
        text = text[:-1] + ("a" if text[-1] != "a" else "b")
    else:
        text = "Aladdin"
    answer = app.ask("GET", "/v1/jobs", user=text)
    assert answer.status_code == 401
    assert why in answer.json()["detail"]
    assert answer.headers["www-authenticate"].startswith("Bearer")
    (event,) = [e for e in app.store.events() if e.kind == "refused"]
    assert event.data == {"why": "wrong token", "address": "testclient", "asked": "GET /v1/jobs"}


def test_a_refusal_says_why_and_is_kept(make_app: MakeApp) -> None:
    app = make_app()
    job = app.submit()
    answer = app.ask("POST", f"/v1/jobs/{job['id']}/cancel", user="bob")
    assert (answer.status_code, answer.json()["detail"]) == (403, "the job belongs to ada")
    answer = app.ask("POST", "/v1/tokens", user="ada", json={"user": "ada", "role": "admin"})
    assert answer.json()["detail"] == "this needs the role `admin`, and the token has `submit`"
    refused = [
        (e.actor, e.job_id, e.data["asked"]) for e in app.store.events() if e.kind == "refused"
    ]
    assert refused == [
        ("bob", job["id"], "POST /v1/jobs/{job_id}/cancel"),
        ("ada", None, "POST /v1/tokens"),
    ]


def test_guessing_is_slowed_down_and_nobody_else_is(make_app: MakeApp) -> None:
    app = make_app(limits=Limits(failures=3))
    assert app.ask("GET", "/v1/me", user="ada").status_code == 200
    wrong = [app.ask("GET", "/v1/me", user=f"minidl_abc_{'x' * 42}{n}") for n in range(6)]
    assert [answer.status_code for answer in wrong] == [401, 401, 401, 429, 429, 429]
    assert 1 <= int(wrong[-1].headers["retry-after"]) <= 60
    # From the same address: who was let in before still is; who comes for the first time waits.
    assert app.ask("GET", "/v1/me", user="ada").status_code == 200
    assert app.ask("GET", "/v1/me", user="bob").status_code == 429


def test_guesses_fill_no_database(make_app: MakeApp) -> None:
    app = make_app(limits=Limits(failures=10_000))
    for n in range(60):
        app.ask("GET", "/v1/me", user=f"guess-{n}")
    assert len([e for e in app.store.events() if e.kind == "refused"]) == 20


# ---- the page's cookie ---------------------------------------------------------------------------

OWN = {"Sec-Fetch-Site": "same-origin"}


def _sign_in(app: ServiceApp, user: str = "ada") -> Any:
    answer = app.client.post("/session", json={"token": app.tokens[user]}, headers=OWN)
    assert answer.json()["user"] == user
    return answer


def test_a_session(make_app: MakeApp) -> None:
    app = make_app()
    cookie = _sign_in(app).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # over plain HTTP a browser would drop it
    assert app.client.get("/v1/me").json()["role"] == "submit"
    assert app.client.delete("/session", headers=OWN).status_code == 204
    assert app.client.get("/v1/me").status_code == 401
    assert [e.kind for e in app.store.events() if e.actor == "ada"] == ["signed_in"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "http://testserver"}, 201),
        ({"Origin": "https://testserver"}, 201),  # a proxy does TLS
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://testserver.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example", "Referer": "http://testserver/"}, 403),
    ],
)
def test_a_cookie_changes_nothing_from_elsewhere(
    make_app: MakeApp, headers: dict[str, str], status: int
) -> None:
    app = make_app()
    _sign_in(app)
    answer = app.client.post("/v1/jobs", json={"config": CONFIG}, headers=headers)
    assert answer.status_code == status
    assert app.client.get("/v1/jobs").status_code == 200  # reading changes nothing


def test_nobody_is_signed_in_from_elsewhere(make_app: MakeApp) -> None:
    app = make_app()
    body = {"token": app.tokens["ada"]}
    answer = app.client.post("/session", json=body, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert app.client.post("/session", json={"token": "x"}, headers=OWN).status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_cookie_over_tls_is_for_tls(make_app: MakeApp) -> None:
    app = make_app()
    body = {"token": app.token("tim", Role.READ, ttl=90)}
    answer = app.client.post("https://testserver/session", json=body, headers=OWN)
    assert "Secure" in answer.headers["set-cookie"]
    assert "Max-Age=89" in answer.headers["set-cookie"]  # no longer than the token


def test_only_asked_by_its_names(make_app: MakeApp) -> None:
    app = make_app(allowed_hosts=["dl.example.org"])
    assert app.client.get("/healthz").status_code == 400
    assert app.client.get("/healthz", headers={"Host": "dl.example.org"}).status_code == 200


def test_every_answer_has_the_headers(app: ServiceApp) -> None:
    for path, user in (("/v1/me", "ada"), ("/v1/me", None), ("/nothing", None), ("/docs", None)):
        headers = app.ask("GET", path, user=user).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_ended_jobs_only_are_ended(make_app: MakeApp) -> None:
    app = make_app()
    job = app.submit()
    app.end(job["id"], JobState.FAILED)
    answer = app.ask("POST", f"/v1/jobs/{job['id']}/cancel")
    assert answer.status_code == 409
    assert "nothing to cancel" in answer.json()["detail"]
