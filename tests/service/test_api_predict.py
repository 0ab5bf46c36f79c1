"""Asking models: that of a job as it changes, and those that are registered in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow_stores import with_mlflow
from service_app import CONFIG, MakeApp, ServiceApp
from tiny_runs import Done

from minidl.service.api.models import KEPT

pytest_plugins = ["service_app", "mlflow_stores", "tiny_runs"]

SWEEP = f"{CONFIG}sweep: {{parameters: {{optimizer.lr: [1e-3, 1e-2]}}}}\n"
BLANK = {"inputs": np.zeros((1, 28, 28), np.uint8).tolist()}


def train_at(run: Path, train: Callable[..., Done], *overrides: str) -> None:
    train(f"trainer.run_root={run.parent}", f"trainer.name={run.name}", *overrides)


def test_the_best_model_so_far(make_app: MakeApp, train: Callable[..., Done]) -> None:
    """A better one takes its place while it is asked, and no later answer is of the old one."""
    app = make_app()
    job = app.submit()["id"]
    run = app.settings.files(job).run
    answer = app.ask("POST", f"/v1/jobs/{job}/predict", json=BLANK)
    assert answer.status_code == 404
    assert "no model (yet)" in answer.json()["detail"]
    train_at(run, train, "trainer.epochs=1")
    first = app.ask("POST", f"/v1/jobs/{job}/predict", json=BLANK).json()
    digest = app.ask("GET", f"/v1/jobs/{job}/signature").json()["model"]["sha256"]
    assert app.ask("POST", f"/v1/jobs/{job}/predict", json=BLANK).json() == first
    assert abs(sum(first["predictions"][0]["probabilities"].values()) - 1) < 1e-5
    run.rename(run.with_name("run.1"))
    train_at(run, train, "trainer.epochs=1", "seed=8")
    second = app.ask("POST", f"/v1/jobs/{job}/predict", json=BLANK).json()
    assert second != first
    assert app.ask("GET", f"/v1/jobs/{job}/signature").json()["model"]["sha256"] != digest
    run.joinpath("model/model.safetensors").write_bytes(b"torn")
    answer = app.ask("POST", f"/v1/jobs/{job}/predict", json=BLANK)
    assert (answer.status_code, "cannot be used" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": [1, 2]}, "got an array of shape [2]"),
        ({"inputs": [[[300] * 28] * 28]}, "wanted is a whole number from 0 to 255"),
        ({"inputs": "x"}, "numbers are wanted, got the string 'x'"),
        ({"data": []}, "got the keys: 'data'"),
    ],
)
def test_what_is_wrong_with_samples_is_told(
    trained: tuple[ServiceApp, str], body: Any, message: str
) -> None:
    app, job = trained
    answer = app.ask("POST", f"/v1/jobs/{job}/predict", json=body)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert answer.json()["expected"] == {"shape": [None, 1, 28, 28], "dtype": "uint8"}


def test_only_a_few_models_are_kept(make_app: MakeApp, train: Callable[..., Done]) -> None:
    import threading

    app = make_app()
    jobs = [app.submit()["id"] for _ in range(KEPT + 2)]
    train_at(app.settings.files(jobs[0]).run, train, "trainer.epochs=1")
    model = app.settings.files(jobs[0]).run
    for job in jobs[1:]:
        files = app.files(job)
        files.run.rmdir()
        files.run.symlink_to(model)
    for job in [*jobs, *jobs]:
        assert app.ask("POST", f"/v1/jobs/{job}/predict", json=BLANK).status_code == 200
    alive = [thread for thread in threading.enumerate() if thread.name == "minidl-model"]
    assert len(alive) <= KEPT + 1  # one may be about to end
    app.end(jobs[0])
    assert app.ask("DELETE", f"/v1/jobs/{jobs[0]}").status_code == 204
    assert app.ask("POST", f"/v1/jobs/{jobs[0]}/predict", json=BLANK).status_code == 404


@with_mlflow
@pytest.mark.slow
def test_registered_models(make_app: MakeApp, train: Callable[..., Done], mlflow_uri: str) -> None:
    app = make_app(mlflow_uri=mlflow_uri)
    kept = ("tracking.registered_model=digits", "tracking.alias=champion", "trainer.epochs=1")
    for seed in (7, 8):
        train(f"tracking={{uri: {mlflow_uri!r}}}", *kept, f"seed={seed}", f"trainer.name=s{seed}")

    def ask(query: str = "", name: str = "digits") -> Any:
        return app.ask("POST", f"/v1/models/{name}/predict{query}", json=BLANK)

    first, second = ask("?version=1").json(), ask("?version=2").json()
    assert first != second
    assert ask("?alias=champion").json() == second
    assert ask().json() == second  # the newest
    for answer in (ask("?version=3"), ask("?alias=nobody"), ask(name="letters")):
        assert answer.status_code == 404
        assert "MLflow has no" in answer.json()["detail"]
    assert ask("?version=1&alias=champion").status_code == 422
    assert ask("?version=0").status_code == 422
    assert ask(name="..%2f..").status_code == 404


@with_mlflow
def test_an_mlflow_that_is_away(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    app = make_app(mlflow_uri="http://127.0.0.1:9")
    answer = app.ask("POST", "/v1/models/digits/predict", json=BLANK)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert answer.json()["detail"] == "MLflow does not answer now"


def test_a_sweep_answers_with_its_best_trial(make_app: MakeApp, train: Callable[..., Done]) -> None:
    app = make_app()
    job = app.submit(SWEEP)["id"]
    run = app.settings.files(job).run
    for number in (0, 1):
        train_at(run / f"trial-{number:04d}", train, "trainer.epochs=1", f"seed={number}")
    path = f"/v1/jobs/{job}/signature"
    assert app.ask("GET", path).status_code == 404
    app.end(job, result={"best": {"number": 1, "value": 0.9}})
    assert app.ask("GET", path).json()["model"]["run"] == "trial-0001"
