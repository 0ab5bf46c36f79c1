"""Jobs over HTTP, from submission to deletion."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from service_app import CONFIG, MakeApp, ServiceApp

from minidl.service.states import JobState
from minidl.train.config import config_from_data

pytest_plugins = ["service_app"]


# ---- submitting ----------------------------------------------------------------------------------


def test_a_mistake_is_told_with_its_line(app: ServiceApp) -> None:
    wrong = CONFIG.replace("lr:", "lrr:").replace("batch_size: 64", "batch_size: -1")
    for path in ("/v1/jobs", "/v1/validate"):
        answer = app.ask("POST", path, json={"config": wrong})
        assert answer.status_code == 422
        told = answer.json()
        assert told["detail"] == (
            "line 1, column 39: `batch_size` must be at least 1, got -1 (and 1 more problems)"
        )
        assert [(p["line"], p["column"]) for p in told["problems"]] == [(1, 39), (5, 26)]
        assert told["problems"][1]["suggestion"] == "did you mean `lr`?"


def test_a_config_as_data(app: ServiceApp) -> None:
    layers = [{"type": "Flatten"}, {"type": "Linear", "out_features": 10}]
    config = {
        "data": {"type": "MNISTSample"},
        "model": {"type": "Sequential", "layers": layers},
        "optimizer": {"type": "SGD", "lr": 0.1},
    }
    job = app.submit(config, name="as data", labels={"team": "a"}, priority=-3, max_retries=2)
    assert (job["name"], job["labels"], job["priority"]) == ("as data", {"team": "a"}, -3)
    assert (job["state"], job["owner"], job["kind"]) == ("queued", "ada", "training")
    source = app.ask("GET", f"/v1/jobs/{job['id']}/config?format=source").text
    again = app.submit(source)
    resolved = [
        app.ask("GET", f"/v1/jobs/{each['id']}/config?format=json").json() for each in (job, again)
    ]
    assert resolved[0] == resolved[1]
    assert config_from_data(resolved[0]).optimizer.arguments()["lr"] == 0.1
    answer = app.ask("POST", "/v1/jobs", json={"config": config | {"seed": -1}})
    assert answer.json()["detail"] == "`seed` must be at least 0, got -1"


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml", "application/x-yaml; charset=x"])
def test_yaml_is_taken_as_it_is(app: ServiceApp, kind: str) -> None:
    answer = app.ask(
        "POST",
        "/v1/jobs?name=plain&label=team=a&label=kind=b=c&priority=3&timeout=90&max_retries=2",
        content=CONFIG.encode(),
        headers={"Content-Type": kind},
    )
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["labels"] == {"team": "a", "kind": "b=c"}
    assert (job["name"], job["priority"], job["timeout"], job["max_retries"]) == ("plain", 3, 90, 2)
    source = app.ask("GET", f"/v1/jobs/{job['id']}/config?format=source")
    assert source.text == CONFIG
    assert source.headers["content-type"] == "application/yaml; charset=utf-8"


def test_what_a_body_does_not_say_the_address_may(app: ServiceApp) -> None:
    answer = app.ask(
        "POST", "/v1/jobs?name=address&priority=7", json={"config": CONFIG, "name": "body"}
    )
    assert (answer.json()["name"], answer.json()["priority"]) == ("body", 7)


def test_a_repeated_submission_is_one(make_app: MakeApp) -> None:
    app = make_app()
    key = {"Idempotency-Key": "3f1c"}
    first = app.ask("POST", "/v1/jobs", json={"config": CONFIG}, headers=key)
    again = app.ask("POST", "/v1/jobs", json={"config": CONFIG}, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.json()["id"] == first.json()["id"]
    other = app.ask("POST", "/v1/jobs", json={"config": CONFIG, "name": "x"}, headers=key)
    assert (other.status_code, "needs a new key" in other.json()["detail"]) == (409, True)
    # Keys are each user's own.
    assert app.ask("POST", "/v1/jobs", user="bob", json={"config": CONFIG}, headers=key).json()[
        "id"
    ] not in (first.json()["id"],)
    assert len(app.ask("GET", "/v1/jobs").json()["jobs"]) == 2


def test_a_sweep_is_one_job(app: ServiceApp) -> None:
    text = f"{CONFIG}sweep: {{parameters: {{optimizer.lr: [1e-3, 1e-2]}}, trials: 2}}\n"
    job = app.submit(text)
    assert job["kind"] == "sweep"
    found = app.ask("GET", f"/v1/jobs?kind=sweep&q={job['id'][:12]}").json()["jobs"]
    assert [each["id"] for each in found] == [job["id"]]
    valid = app.ask("POST", "/v1/validate", json={"config": text}).json()
    assert (valid["valid"], valid["kind"]) == (True, "sweep")
    assert valid["config"]["sweep"]["parameters"] == {"optimizer.lr": [0.001, 0.01]}


def test_configs_to_begin_with(app: ServiceApp) -> None:
    configs = app.ask("GET", "/v1/configs").json()["configs"]
    titles = {config["name"]: config["title"] for config in configs}
    assert titles["quickstart"].startswith("A small CNN on the embedded sample of MNIST")
    text = app.ask("GET", "/v1/configs/quickstart").text
    assert app.ask("POST", "/v1/validate", json={"config": text}).json()["kind"] == "training"
    assert app.ask("GET", "/v1/configs/..%2fpyproject").status_code == 404
    assert app.ask("GET", "/v1/schema").json()["title"] == "A run of minidl"


# ---- finding -------------------------------------------------------------------------------------


def test_pages_of_a_list(make_app: MakeApp) -> None:
    app = make_app()
    ids = [app.submit(name=f"job {n}", user="ada" if n % 2 else "bob")["id"] for n in range(7)]
    app.end(ids[0], JobState.FAILED)

    def pages(query: str) -> list[list[str]]:
        found, cursor = [], ""
        while cursor is not None:
            page = app.ask("GET", f"/v1/jobs?{query}{cursor and '&cursor=' + cursor}").json()
            found.append([job["id"] for job in page["jobs"]])
            cursor = page["next_cursor"]
        return found

    newest = ids[::-1]
    assert pages("limit=3") == [newest[:3], newest[3:6], newest[6:]]
    assert pages("limit=7") == [newest]
    assert pages("owner=ada") == [newest[1::2]]
    assert pages("state=failed") == [[ids[0]]]
    assert pages("state=failed&state=queued") == [newest]
    assert pages("q=JOB%203") == [[ids[3]]]
    assert pages("label=a=b") == [[]]
    positions = [job["queue_position"] for job in app.ask("GET", "/v1/jobs").json()["jobs"]]
    assert positions == [6, 5, 4, 3, 2, 1, None]


# ---- what one can do with it ---------------------------------------------------------------------


def test_cancel_retry_resume_delete(make_app: MakeApp) -> None:
    app = make_app()
    job = app.submit()["id"]
    path = f"/v1/jobs/{job}"
    for verb in ("retry", "resume"):
        answer = app.ask("POST", f"{path}/{verb}")
        assert (answer.status_code, "has ended" in answer.json()["detail"]) == (409, True)
    assert app.ask("POST", f"{path}/cancel").json()["state"] == "cancelled"
    assert app.ask("POST", f"{path}/retry").json()["state"] == "queued"
    assert app.ask("DELETE", path).status_code == 409
    app.end(job)
    overrides = ["trainer.epochs=20"]
    resumed = app.ask("POST", f"{path}/resume", json={"overrides": overrides}).json()
    assert (resumed["state"], resumed["mode"], resumed["overrides"]) == (
        "queued",
        "resume",
        overrides,
    )
    app.end(job)
    answer = app.ask(
        "POST", f"{path}/resume", json={"overrides": ["optimizer.lrr=3", "x=${env:A}"]}
    )
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["message"] == "`${…}` has no meaning in an override here"
    attempts = app.ask("GET", f"{path}/attempts").json()["attempts"]
    assert [(a["number"], a["state"], a["mode"]) for a in attempts] == [
        (1, "succeeded", "afresh"),
        (2, "succeeded", "resume"),
    ]
    files = app.files(job)
    (files.run / "metrics.jsonl").write_text("")
    assert app.ask("DELETE", path).status_code == 204
    assert not files.directory.exists()
    assert app.ask("GET", path).status_code == 404
    events = app.ask("GET", f"{path}/events").json()["events"]
    assert [(e["kind"], e["actor"]) for e in events] == [
        ("submitted", "ada"),
        ("cancel_asked", "ada"),
        ("retry", "ada"),
        ("attempt_started", "service"),
        ("attempt_running", "service"),
        ("attempt_ended", "service"),
        ("resume", "ada"),
        ("attempt_started", "service"),
        ("attempt_running", "service"),
        ("attempt_ended", "service"),
        ("deleted", "ada"),
    ]
    ids = [e["id"] for e in events]
    assert ids == sorted(ids)
    assert app.ask("GET", f"{path}/events?after={ids[-2]}").json()["events"] == events[-1:]


def test_a_sweep_takes_no_overrides(app: ServiceApp) -> None:
    job = app.submit(f"{CONFIG}sweep: {{parameters: {{optimizer.lr: [1e-3, 1e-2]}}}}\n")["id"]
    app.end(job)
    answer = app.ask("POST", f"/v1/jobs/{job}/resume", json={"overrides": ["seed=1"]})
    assert answer.status_code == 409
    assert app.ask("POST", f"/v1/jobs/{job}/resume").status_code == 200


def test_forms_of_a_config(app: ServiceApp) -> None:
    job = app.submit(f"{CONFIG}tracking: {{uri: 'postgresql://me:hush@db/x'}}\n")["id"]

    def form(name: str) -> Any:
        return app.ask("GET", f"/v1/jobs/{job}/config?format={name}")

    assert form("json").json()["trainer"]["epochs"] == 2
    assert form("flat").json()["model.layers.1.out_features"] == "10"
    assert "out_features: 10" in form("yaml").text
    assert "uri: 'postgresql://me:***@db/x'" in form("source").text
    assert form("xml").status_code == 422
    for name in ("json", "flat", "yaml", "source"):
        assert "hush" not in form(name).text


# ---- what it has written -------------------------------------------------------------------------


def test_a_log_in_pieces(app: ServiceApp) -> None:
    job = app.submit()["id"]
    path = f"/v1/jobs/{job}/log"
    empty = app.ask("GET", path)
    assert (empty.text, empty.headers["x-next-offset"]) == ("", "0")
    app.files(job).log.write_bytes(b"one\ntwo\nthree\n")
    for query, text, after in [
        ("", "one\ntwo\nthree\n", 14),
        ("?limit=4", "one\n", 4),
        ("?offset=4&limit=4", "two\n", 8),
        ("?offset=14", "", 14),
        ("?offset=99", "", 14),
        ("?offset=-6", "three\n", 14),
        ("?offset=-99&limit=3", "one", 3),
    ]:
        answer = app.ask("GET", path + query)
        assert (answer.text, answer.headers["x-next-offset"]) == (text, str(after)), query
        assert answer.headers["x-log-size"] == "14"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_points_in_pieces(app: ServiceApp) -> None:
    job = app.submit()["id"]
    run = app.files(job).run
    path = f"/v1/jobs/{job}/metrics"
    assert app.ask("GET", path).json() == {
        "points": [],
        "next": 0,
        "complete": True,
        "reset": False,
    }
    losses: list[Any] = [0.5, "NaN", 0.25]
    lines = [
        json.dumps({"epoch": 1, "step": n, "metrics": {"train/loss": loss}}) + "\n"
        for n, loss in enumerate(losses)
    ]
    (run / "metrics.jsonl").write_text("".join(lines) + '{"epoch": 1, "st')
    (run / "clock.jsonl").write_text('{"time": 1.5, "metrics": {"throughput/x": 2.0}}\n{}\n')
    first = app.ask("GET", f"{path}?limit=2").json()
    assert (first["next"], first["complete"]) == (len(lines[0] + lines[1]), False)
    assert first["points"] == [
        {
            "step": 0,
            "epoch": 1,
            "time": "1970-01-01T00:00:01.500Z",
            "metrics": {"train/loss": 0.5, "throughput/x": 2.0},
        },
        {
            "step": 1,
            "epoch": 1,
            "time": "1970-01-01T00:00:01.500Z",
            "metrics": {"train/loss": "NaN"},
        },
    ]
    rest = app.ask("GET", f"{path}?after={first['next']}").json()
    assert [point["step"] for point in rest["points"]] == [2]
    assert (rest["complete"], rest["reset"]) == (True, False)
    for beyond in (first["next"] + 1, 10_000):  # in the middle of a line; behind the end
        again = app.ask("GET", f"{path}?after={beyond}").json()
        assert ([p["step"] for p in again["points"]], again["reset"]) == ([0, 1, 2], True)


def test_a_run_that_was_trained(trained: tuple[ServiceApp, str]) -> None:
    app, job = trained
    path = f"/v1/jobs/{job}"
    confusion = app.ask("GET", f"{path}/confusion").json()
    assert confusion["classes"] == list("0123456789")
    assert sum(map(sum, confusion["matrix"])) == 1000
    names = [file["path"] for file in app.ask("GET", f"{path}/artifacts").json()["files"]]
    assert {"config.yaml", "metrics.jsonl", "model/model.safetensors"} <= set(names)
    assert names == sorted(names, key=lambda name: (name.count("/"), name))
    points = app.ask("GET", f"{path}/metrics").json()["points"]
    assert any("val/accuracy" in point["metrics"] for point in points)
    content = app.ask("GET", f"{path}/artifacts/model/model.safetensors")
    assert content.headers["content-disposition"] == 'attachment; filename="model.safetensors"'
    files = app.settings.files(job)
    assert content.content == (files.run / "model/model.safetensors").read_bytes()


# ---- about ---------------------------------------------------------------------------------------


def test_the_description(app: ServiceApp) -> None:
    description = app.client.get("/openapi.json").json()
    submit = description["paths"]["/v1/jobs"]["post"]
    example = submit["requestBody"]["content"]["application/yaml"]["example"]
    assert app.ask("POST", "/v1/validate", json={"config": example}).status_code == 200
    for path, methods in description["paths"].items():
        for route in methods.values():
            assert route["summary"]
            guarded = path.startswith("/v1/")
            assert bool(route.get("security")) == guarded, path
            assert ("401" in route["responses"]) == (guarded or path == "/session"), path
    page = app.client.get("/docs")
    style = re.search("<style>(.*?)</style>", page.text, re.DOTALL)
    assert style is not None
    assert "sha256-" in page.headers["content-security-policy"]
    for text in (
        'curl -H "Authorization: Bearer $MINIDL_TOKEN" -X DELETE http://testserver/v1/tokens/',
        "--data-binary @config.yaml",
    ):
        assert text in page.text.replace("&quot;", '"').replace("&#x27;", "'")
