"""The stack of deploy/compose.yaml, run as docs/deploy.md tells it, and looked at in a browser."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from compose_stack import Stack
from guide_shell import Shell, are_shown, steps_of
from images import CONTAINER_MARKS
from mlflow_stores import MLFLOW_MARKS, client
from page_browser import CHROMIUM, DRIVER, Page

pytest_plugins = ["images", "compose_stack", "page_browser"]
pytestmark = [*CONTAINER_MARKS, *MLFLOW_MARKS]

GUIDE = (Path(__file__).parents[2] / "docs/deploy.md").read_text(encoding="utf-8")
WALK = GUIDE.partition("## One machine")[2].partition("\n## ")[0]


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Iterator[Shell]:
    """A terminal beside the stack's files; ``docker compose`` in it is what there is."""
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    shell = Shell(tmp_path, {**stack.variables, **home})
    shell.tell(stack.function)
    yield shell
    shell.close()


def walk(stack: Stack, shell: Shell, folder: Path) -> None:
    """Do what the page says, and see that it shows what comes."""
    steps = steps_of(WALK)
    assert len(steps) > 10
    for line, shown in steps:
        told = line.replace("http://127.0.0.1:8080", stack.service)
        told = told.replace("http://127.0.0.1:5000", stack.mlflow)
        if line.startswith("docker compose up"):
            stack.start_in_turn()
        status, printed = shell.tell(told)
        assert status == 0, "\n".join([line, *printed])
        if line.startswith("docker compose up"):
            stack.wait_until_healthy()
        elif not line.startswith("docker compose"):  # what compose itself says is its own matter
            are_shown(shown, printed, folder, line)


def jobs_of(shell: Shell) -> dict[str, dict[str, Any]]:
    """Return what the service says of its jobs, by name."""
    status, printed = shell.tell("minidl jobs --json")
    assert status == 0, printed
    return {job["name"]: job for job in map(json.loads, printed)}


def wait_for(ask: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
    """Ask until it is enough: the service reads some of what runs say a moment later."""
    limit = time.monotonic() + 120
    while not enough(found := ask()):
        assert time.monotonic() < limit, found
        time.sleep(0.5)
    return found


def is_tracked(stack: Stack, job: dict[str, Any]) -> None:
    """See that MLflow has all of a job's run: how it ended, its curves, its files, its model."""
    mlflow = client(stack.mlflow)
    run = mlflow.get_run(job["mlflow"]["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/accuracy"] == job["result"]["metrics"]["test/accuracy"]
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    files = [file.path for file in mlflow.list_artifacts(run.info.run_id, "run")]
    assert "run/config.yaml" in files
    points = mlflow.get_metric_history(run.info.run_id, "train/loss")
    steps = [point.step for point in points]
    assert len(steps) >= 5
    assert steps == sorted(set(steps))
    assert steps[-1] == job["progress"]["step"]


def is_refused(url: str, name: str) -> bool:
    """Say whether a server wants nothing of a request that is meant for another name."""
    request = urllib.request.Request(url, headers={"Host": name})
    try:
        urllib.request.build_opener().open(request, timeout=60).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 403
    return False


def look(page: Page, stack: Stack, job: dict[str, Any], token: str) -> None:
    """See the job on the service's page, and follow its link to the curves in MLflow."""
    cookie = {"name": "minidl_token", "value": token, "httpOnly": True, "sameSite": "Strict"}
    page.driver.execute_cdp_cmd("Network.setCookie", cookie | {"url": stack.service})
    page.screen()
    page.go(f"#/jobs/{job['id']}")
    page.wait_for_text(".heading .state", "succeeded")
    link = page.wait(lambda: [a for a in page.all("main a") if "in MLflow" in a.text])[0]
    page.wait_for_text("[data-chart=loss] .legend", r"train/loss \d")
    page.picture("compose-job")
    address = link.get_attribute("href")
    where = job["mlflow"]
    place = f"/#/experiments/{where['experiment_id']}/runs/{where['run_id']}"
    assert address == stack.mlflow + place
    page.driver.get(f"{address}/model-metrics")
    # A panel that wants to be asked takes a fourth of the width.
    page.wait(lambda: page.all(".js-plotly-plot"), "MLflow's charts")
    for close in page.all("button[data-component-id='mlflow.assistant.chat_panel.close']"):
        close.click()
    page.find("input[placeholder='Search metric charts']").send_keys("train")
    page.wait_for_text("body", r"\(train/accuracy\)[\s\S]*\(train/loss\)")
    page.wait(lambda: len(page.all("path.js-line")) >= 2, "the curves of accuracy and loss")
    page.driver.save_screenshot(str(page.pictures / "compose-mlflow.png"))


def test_up_train_down_up(stack: Stack, shell: Shell, tmp_path: Path, request: Any) -> None:
    walk(stack, shell, tmp_path)
    jobs = wait_for(
        lambda: jobs_of(shell), lambda found: all(job["mlflow"] for job in found.values())
    )
    assert {name: job["state"] for name, job in jobs.items()} == {
        "first": "succeeded",
        "second": "succeeded",
    }
    for job in jobs.values():
        is_tracked(stack, job)
    assert is_refused(f"{stack.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0", "evil.test")
    if CHROMIUM is None or DRIVER is None:
        return  # the browser's part of it; the rest has been seen
    pictures, driver = (request.getfixturevalue(name) for name in ("pictures", "driver"))
    page = Page(driver, SimpleNamespace(url=stack.service), pictures)
    look(page, stack, jobs["first"], (tmp_path / "deploy/token").read_text().strip())
