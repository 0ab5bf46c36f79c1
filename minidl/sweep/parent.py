"""The sweep's own run in MLflow, under which those of its trials are shown.

It belongs to the study and not to a process: every worker finds it by the study's uid, a sweep that
goes on opens it again, and it ends when the sweep has ended. As with any run, MLflow's trouble is
told once and stops nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from minidl.sweep.plan import Plan
from minidl.train import environment
from minidl.train.config.sections import TrackingSection
from minidl.train.tracking import RunDescription, mlflow_client, mlflow_uri
from minidl.train.tracking.mlflow_client import MlflowRun, NotSentError
from minidl.train.tracking.points import Point, mlflow_name
from minidl.train.tracking.settings import Status


class ParentRun:
    """The run of a sweep, found in MLflow or made there; empty where there is no MLflow.

    Parameters
    ----------
    uid
        The study's.
    reopen
        Whether a run that has ended is set RUNNING again.
    say
        Receives what the user is to know.
    """

    def __init__(self, plan: Plan, uid: str, *, reopen: bool, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._section = plan.config.tracking
        self._say = say
        self._run: MlflowRun | None = None
        if self._section is not None:
            self._uri = mlflow_uri.resolve_uri(self._section.uri)
            self._run = self._try(lambda: self._open(self._section, uid, reopen))

    def _open(self, section: TrackingSection | None, uid: str, reopen: bool) -> MlflowRun:
        assert section is not None
        if reason := mlflow_uri.why_no_answer(self._uri, mlflow_uri.answer_seconds()):
            raise NotSentError(reason)
        mlflow_client.prepare_environment()
        plan = self._plan
        description = RunDescription(
            uid,
            section.run_name or plan.study,
            tags=environment.describe()
            | section.tags
            | {"sweep": plan.study, "run.directory": str(plan.directory.absolute())},
        )
        run = MlflowRun(
            self._uri,
            section.experiment,
            description,
            adopt=os.environ.get("MLFLOW_RUN_ID"),
            parent=section.parent_run_id,
            reopen=reopen,
        )
        params = plan.config.flat() | {
            "tracking.uri": mlflow_uri.redacted(section.uri),
            "sweep.sampler": plan.sampler.type,
            "sweep.metric": plan.metric,
            "sweep.direction": "maximize" if plan.maximize else "minimize",
        }
        if plan.section.pruner is not None:
            params["sweep.pruner"] = plan.section.pruner.type
        for dimension in plan.dimensions:
            params[f"sweep.{dimension.path}"] = dimension.describe()
        run.send_params(params)
        return run

    @property
    def run_id(self) -> str | None:
        """Its id, for the trials."""
        return None if self._run is None else self._run.run_id

    def facts(self) -> dict[str, str]:
        """Return what the closing says of it."""
        if self._run is None:
            return {}
        command = mlflow_uri.open_command(self._uri, self._run.experiment_id, self._run.run_id)
        return {"mlflow_run_id": self._run.run_id, "mlflow_command": command}

    def end(self, status: Status | None, facts: dict[str, Any], trials: int) -> None:
        """Hand over what was found; with a status, end the run.

        The best values are tags: a sweep may go on and find others, and MLflow's params stay.
        """
        if self._run is not None:
            self._try(lambda: self._hand_over(status, facts, trials))

    def _hand_over(self, status: Status | None, facts: dict[str, Any], trials: int) -> None:
        from time import time

        from mlflow.entities import RunTag

        run = self._run
        assert run is not None
        if best := facts.get("best"):
            tags = {"best.trial": str(best["number"])} | {
                f"best.{path}": str(value) for path, value in best["parameters"].items()
            }
            run.call(
                run.client.log_batch,
                run.run_id,
                tags=[RunTag(mlflow_name(key), text) for key, text in tags.items()],
            )
            name = f"best/{self._plan.metric}"
            list(run.send_points([Point(name, best["value"], trials, round(time() * 1000))]))
        plan = self._plan
        for path in sorted((plan.directory / "plots").glob("*.png")):
            run.send_artifact(path, "plots")
        for path in (plan.directory / "best.yaml", plan.directory / "trials.csv"):
            if path.exists():
                run.send_artifact(path, "sweep")
        if status is not None:
            run.end(status)

    def _try(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except Exception as error:  # tracking never stops a sweep
            where = mlflow_uri.redacted(self._uri)
            reason = mlflow_client.first_line(error)
            self._say(f"MLflow at {where} has not got all of the sweep ({reason})")
            return None
