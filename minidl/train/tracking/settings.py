"""What is asked of tracking, and how it went."""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minidl.train.tracking import mlflow_uri

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class TrackingSettings:
    """The ``tracking:`` section of a config: which store, which experiment, and what beyond.

    ``parent_run_id`` is the run that this one is shown under, as a trial under its sweep.
    ``registered_model`` is the one whose next version a finished run's model becomes, and
    ``alias`` the name that the newest of them goes by.
    """

    uri: str
    experiment: str
    system_metrics: bool = False
    log_model: bool = True
    parent_run_id: str | None = None
    registered_model: str | None = None
    alias: str | None = None


@dataclass(frozen=True)
class TrackingReport:
    """How tracking went.

    ``status`` is ``"complete"``, ``"partial"`` (MLflow has the run, not all of it) or
    ``"unavailable"`` (MLflow knows nothing of the run); ``message`` is what the user was told of
    it, empty where all went well. A point is one value of one metric. ``uri`` is the address that
    was used, with its password if it has one; ``open_command`` shows none.
    """

    run_id: str | None
    experiment_id: str | None
    model_id: str | None
    uri: str
    status: Literal["complete", "partial", "unavailable"]
    message: str
    points_sent: int
    points_missing: int

    @property
    def open_command(self) -> str:
        """What opens the run: a URL for a server, else a shell command."""
        return mlflow_uri.open_command(self.uri, self.experiment_id, self.run_id)


def what_is_missing(
    uri: str, record: Path | None, *, known: bool, points: int, uploads: int, trouble: str
) -> str:
    """Say what MLflow lacks of a run, why, and what will send it.

    Parameters
    ----------
    record
        The file in the run directory that holds where MLflow keeps the run.
    known
        Whether MLflow has the run at all.
    """
    where = mlflow_uri.redacted(uri)
    place = shlex.quote(str(record.parent)) if record else "RUN"
    repair = f"`minidl sync {place}` sends it from the run directory, which has everything"
    if not known:
        return f"MLflow at {where} has nothing of this run ({trouble}); {repair}"
    parts = [
        f"{count:,} {name if count == 1 else name + 's'}"
        for count, name in ((points, "point"), (uploads, "upload"))
        if count
    ]
    lacks = " and ".join(parts) or "the end"
    return f"MLflow at {where} lacks {lacks} of this run ({trouble}); {repair}"


def require_mlflow(uri: str | None = None) -> None:
    """Refuse a config that tracks to MLflow where MLflow is not installed (nothing is imported).

    Parameters
    ----------
    uri
        The store. A server wants MLflow's client alone (mlflow-skinny); a database, what MLflow
        writes to databases with.

    Raises
    ------
    ModuleNotFoundError
        With what to install, and how to do without.
    """
    lacking = [name for name in ("mlflow", *_beyond_a_client(uri)) if not _installed(name)]
    if "mlflow" in lacking:
        raise ModuleNotFoundError(
            "this config tracks its runs in MLflow, which is not installed. Install it with "
            "`pip install 'minidl[mlflow]'`; or track to the journal (metrics.jsonl) only: remove "
            "the `tracking:` section, or add `tracking=null` to the command line",
            name="mlflow",
        )
    if lacking:
        raise ModuleNotFoundError(
            f"here is only MLflow's client (mlflow-skinny), which cannot write to a database as "
            f"{mlflow_uri.redacted(uri or '')} ({' and '.join(lacking)} not installed). Name a "
            "server (`tracking.uri=http://HOST:5000`, or the variable MLFLOW_TRACKING_URI); or "
            "install the rest with `pip install 'minidl[mlflow]'`; or track to the journal "
            "(metrics.jsonl) only: add `tracking=null` to the command line",
            name=lacking[0],
        )


def _beyond_a_client(uri: str | None) -> tuple[str, ...]:
    if uri is None or uri.lower().startswith(("http:", "https:", "databricks")):
        return ()
    return ("sqlalchemy", "alembic")


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
