"""Jobs over HTTP, from submission to deletion, asked of a real service."""

from __future__ import annotations

import pytest
from services import RunningService

pytest_plugins = ["services"]

CONFIG = """\
data: {type: MNISTSample, batch_size: 64}
model:
  type: Sequential
  layers: [{type: Flatten}, {type: Linear, out_features: 10}]
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 2}
"""


def test_a_mistake_is_told_with_its_line(service: RunningService) -> None:
    answer = service.ask("POST", "/v1/jobs", {"config": CONFIG.replace("lr:", "lrr:")})
    assert answer.status == 422
    (problem,) = answer.data["problems"]
    assert (problem["line"], problem["column"]) == (5, 26)
    assert problem["suggestion"] == "did you mean `lr`?"


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml"])
def test_yaml_is_taken_as_it_is(service: RunningService, kind: str) -> None:
    answer = service.ask(
        "POST",
        "/v1/jobs?name=plain&label=team=a&label=kind=b&priority=3&timeout=90&max_retries=2",
        CONFIG.encode(),
        headers={"Content-Type": kind},
    )
    assert answer.status == 201
    job = answer.data
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["labels"] == {"team": "a", "kind": "b"}
    assert (job["name"], job["priority"], job["timeout"], job["max_retries"]) == ("plain", 3, 90, 2)
    source = service.ask("GET", f"/v1/jobs/{job['id']}/config?format=source")
    assert source.body.decode() == CONFIG
