"""The service's app in this process: a real store, no scheduler, a token of each role.

A test module that uses these fixtures says ``pytest_plugins = ["service_app"]``.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from rich.console import Console

from minidl.service.api.app import create_app
from minidl.service.api.limits import Limits
from minidl.service.settings import JobFiles, ServiceSettings
from minidl.service.states import AttemptState, JobState, Role
from minidl.service.store import Store
from minidl.train.config import config_from_data
from minidl.train.reporter import LineReporter
from minidl.train.reports import plots
from minidl.train.trainer import Trainer

CONFIG = """\
data: {type: MNISTSample, batch_size: 64}
model:
  type: Sequential
  layers: [{type: Flatten}, {type: Linear, out_features: 10}]
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 2}
"""


class ServiceApp:
    """The app, and what tests need beside it.

    ``tokens`` are those of ada (submit), bob (submit), eve (read) and root (admin), by user.
    """

    def __init__(self, data: Path, **settings: Any) -> None:
        limits = settings.pop("limits", None)
        hosts = settings.pop("allowed_hosts", ())
        self.settings = ServiceSettings(data=data, **settings)
        self.store = Store.open(self.settings.database_url, data=data)
        roles = {"ada": Role.SUBMIT, "bob": Role.SUBMIT, "eve": Role.READ, "root": Role.ADMIN}
        self.tokens = {user: self.token(user, role) for user, role in roles.items()}
        self.app = create_app(
            self.store, self.settings, limits=limits or Limits(), allowed_hosts=hosts
        )
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def token(self, user: str, role: Role, **more: Any) -> str:
        """Make another token."""
        return self.store.create_token(user=user, role=role, actor="test", **more)[1]

    def ask(self, method: str, path: str, *, user: str | None = "ada", **more: Any) -> Any:
        """Ask the app as one of the users, or as nobody."""
        headers = dict(more.pop("headers", {}))
        if user is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(user, user)}"
        return self.client.request(method, path, headers=headers, **more)

    def submit(self, config: Any = CONFIG, *, user: str = "ada", **more: Any) -> dict[str, Any]:
        """Submit a config and return the job."""
        answer = self.ask("POST", "/v1/jobs", user=user, json={"config": config, **more})
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def files(self, job_id: str) -> JobFiles:
        """Return where a job's files lie, with the run directory made."""
        files = self.settings.files(job_id)
        files.run.mkdir(parents=True, exist_ok=True)
        return files

    def end(
        self,
        job_id: str,
        state: JobState = JobState.SUCCEEDED,
        *,
        result: dict[str, Any] | None = None,
    ) -> None:
        """Bring a job to its end, as a scheduler does."""
        leadership = self.store.lead("test")
        assert leadership is not None
        with leadership:
            attempt = leadership.begin_attempt(job_id, executor="local", host="here")
            attempt = leadership.placed(attempt, "handle")
            leadership.note(job_id, result=result)
            leadership.end_attempt(attempt, state=AttemptState(state), job_state=state)


MakeApp = Callable[..., ServiceApp]


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """Make apps with settings and limits of the test's own."""
    made: list[ServiceApp] = []

    def make(**settings: Any) -> ServiceApp:
        app = ServiceApp(tmp_path / f"service-{len(made)}", **settings)
        app.client.__enter__()
        made.append(app)
        return app

    yield make
    for app in made:
        app.client.__exit__(None, None, None)
        app.store.close()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceApp]:
    """One app for a module's tests."""
    root = tmp_path_factory.mktemp("roots")
    made = ServiceApp(tmp_path_factory.mktemp("app") / "data", data_roots=(root,))
    with made.client:
        yield made
    made.store.close()


@pytest.fixture(scope="module")
def trained(app: ServiceApp) -> tuple[ServiceApp, str]:
    """A job of the module's app that has ended, with a run that was trained here."""
    job = app.submit()
    files = app.files(job["id"])
    files.run.rmdir()
    data = dict(app.store.job(job["id"]).config)
    trainer = {"run_root": str(files.directory), "name": "run", "max_steps": 20, "epochs": None}
    config = config_from_data(data | {"trainer": data["trainer"] | trainer})
    with files.log.open("w", encoding="utf-8") as log, pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "plots_available", lambda: False)  # they take the most time
        result = Trainer(config, reporter=LineReporter(Console(file=log))).run()
    assert result.status == "FINISHED"
    app.end(job["id"])
    return app, job["id"]
