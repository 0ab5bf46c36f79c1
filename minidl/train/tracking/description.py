"""What MLflow is told of a run when it is opened, and where MLflow keeps it: two small files.

``description.json`` is written when the run begins, tracked or not: what is true then (versions,
commit, machine, data) cannot be found out later, and ``minidl sync`` may be asked to tell it to an
MLflow server that did not exist yet. ``tracking.json`` is written as soon as MLflow has the run, so
that a resumed run goes on there and does not begin a second one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from minidl.train.checkpoint import write_atomically

#: The tag by which a run is found again whose record was lost.
UID_TAG = "minidl.run.uid"


@dataclass(frozen=True)
class DatasetInfo:
    """One part of the data a run reads.

    ``digest`` covers all of it (MLflow keeps 36 characters); ``source`` is where it came from;
    ``context`` is ``"training"``, ``"validation"`` or ``"test"``; ``profile`` holds facts such as
    ``{"num_rows": 60000, "shape": [28, 28]}``.
    """

    name: str
    digest: str
    source: str
    context: Literal["training", "validation", "test"]
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunDescription:
    """What is recorded about a run when it is opened.

    ``uid`` is random and the run's own: one run directory is one run in MLflow, however often it
    is resumed or synchronized. ``started`` is in seconds since 1970; None means now. ``uri`` is
    the store that was meant, without its password: of a SQLite file, the absolute path.
    """

    uid: str
    run_name: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: Sequence[DatasetInfo] = ()
    started: float | None = None
    uri: str | None = None

    def write(self, path: Path) -> None:
        """Write it as JSON: whole, or not at all."""
        _write(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> RunDescription:
        """Read what `write` wrote.

        Raises
        ------
        FileNotFoundError
            There is none.
        ValueError
            The file holds something else.
        """
        try:
            found = json.loads(path.read_bytes())
            datasets = [DatasetInfo(**data) for data in found.pop("datasets")]
            return cls(**found, datasets=datasets)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is no description of a run: {error}") from error


@dataclass(frozen=True)
class RunRecord:
    """Where MLflow keeps a run. ``uri`` has no password, and is there to be compared."""

    uri: str
    experiment_id: str
    run_id: str
    uid: str

    def write(self, path: Path) -> None:
        """Write it as JSON: whole, or not at all."""
        _write(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> RunRecord | None:
        """Read what `write` wrote; None where there is nothing that can be read.

        A record that is lost or damaged costs nothing: the run is found by its tag.
        """
        try:
            return cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")
