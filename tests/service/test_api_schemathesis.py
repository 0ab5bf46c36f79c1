"""The API against its own description: it answers as that says, and never with 5xx.

Schemathesis makes requests of each route from the OpenAPI description, good ones and broken ones,
the same in every run, and checks the answers: statuses, media types and bodies as described, broken
requests refused, nothing told without a token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from served_app import served
from service_app import ServiceApp

from minidl.service.api.app import create_app
from minidl.service.api.limits import Limits
from minidl.service.settings import ServiceSettings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

#: It has no end.
LEFT_OUT = {("GET", "/v1/events/stream")}
DESCRIPTION = create_app(cast(Any, None), ServiceSettings(data=Path("x"))).openapi()
OPERATIONS = [
    (method.upper(), path)
    for path, methods in DESCRIPTION["paths"].items()
    for method in methods
    if (method.upper(), path) not in LEFT_OUT
]
CHECKS = {
    # That a text is no config, no number or no name, no schema can say.
    "positive_data_acceptance": {"enabled": False},
    "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 409, 413, 415, 422, 429]},
}
FEW = settings(
    max_examples=6,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceApp, str]]:
    """An app behind a port, and its address."""
    limits = Limits(failures=1_000_000)  # it tries wrong tokens with every request
    app = ServiceApp(tmp_path_factory.mktemp("described") / "data", limits=limits)
    with served(app) as port:
        yield app, f"http://127.0.0.1:{port}"
    app.store.close()


@pytest.fixture(scope="module")
def described(asked: tuple[ServiceApp, str]) -> Any:
    config = schemathesis.Config.from_dict({"checks": CHECKS})
    found = schemathesis.openapi.from_dict(json.loads(json.dumps(DESCRIPTION)), config=config)
    found.config.update(base_url=asked[1])
    return found


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_it_answers_as_it_says(
    asked: tuple[ServiceApp, str], described: Any, method: str, path: str
) -> None:
    app, _ = asked
    operation = described[path][method]
    known = {"job_id": _ended_job(app)} if "{job_id}" in path else None
    from schemathesis.generation import GenerationMode

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        try:
            cases = operation.as_strategy(generation_mode=mode, path_parameters=known)
        except schemathesis.errors.SchemathesisError:
            continue  # nothing of it can be broken

        @FEW
        @given(case=cases)
        def check(case: Any) -> None:
            headers = {"Authorization": f"Bearer {app.tokens['root']}"}
            case.call_and_validate(headers=headers)

        with suppress(Unsatisfiable):  # there is no request of this kind
            check()


def _ended_job(app: ServiceApp) -> str:
    from minidl.service.records import NewJob
    from minidl.service.states import JobKind

    new = NewJob(kind=JobKind.TRAINING, config_text="data: {}", config={})
    job, _ = app.store.submit(new, actor="ada")
    app.end(job.id)
    return job.id
