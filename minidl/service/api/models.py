"""The models that are asked now: a few are kept, and each is loaded anew when its weights change.

A model is that of a job, from its run directory, or one that is registered in MLflow. Each has a
queue and a thread of its own (`minidl.serving.answering`), which end when others need the place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import HTTPException

from minidl.service.api.watching import Call
from minidl.serving.answering import Answerer, Settings
from minidl.serving.instruments import Instruments
from minidl.serving.served_model import ServedModel
from minidl.train.run_directory import RunDirectory

log = logging.getLogger("minidl.service")

#: Models that are kept.
KEPT = 4
#: Samples that a model is given at once, and that may wait for it.
BATCH, QUEUE = 32, 512
#: Seconds for which the version that an alias names is believed.
ALIAS_SECONDS = 5.0

Key = tuple[str, ...]


@dataclass
class Loaded:
    """A model that is kept, and what tells whether its file is still the same."""

    answerer: Answerer
    mark: Any


class Models:
    """Loads models, keeps those that were asked last, and lets go of the others."""

    def __init__(
        self,
        instruments: Instruments,
        call: Call,
        *,
        max_body: int,
        max_pixels: int,
        mlflow_uri: str | None,
    ) -> None:
        self.instruments, self.call, self.mlflow_uri = instruments, call, mlflow_uri
        self.settings = Settings(
            max_batch=BATCH, max_queue=QUEUE, max_body=max_body, max_pixels=max_pixels
        )
        self._kept: OrderedDict[Key, Loaded] = OrderedDict()
        self._loading = asyncio.Lock()
        self._versions: OrderedDict[Key, tuple[float, str]] = OrderedDict()
        instruments.queue.set_function(self._waiting)

    def _waiting(self) -> int:
        return sum(kept.answerer.waiting for kept in list(self._kept.values()))

    async def of_job(self, job_id: str, run: Path) -> Answerer:
        """Return the answerer of a job's best model so far.

        Raises
        ------
        HTTPException
            404: it has none yet.
        CheckpointError
            Its files are damaged, or it is none that answers samples.
        """
        weights = RunDirectory(run).weights
        mark = await self.call(_mark, weights)
        if mark is None:
            raise HTTPException(404, "the job has no model (yet): the first validation makes one")
        return await self._get(("job", job_id), mark, lambda: self.call(ServedModel.load, run))

    async def registered(self, name: str, *, version: str | None, alias: str | None) -> Answerer:
        """Return the answerer of a registered model: of a version, an alias, or the newest.

        Raises
        ------
        HTTPException
            404: there is none. 409: the service has no MLflow. 503: MLflow does not answer.
        """
        if self.mlflow_uri is None:
            raise HTTPException(
                409, "this service has no MLflow: it was started without --mlflow-uri"
            )
        if version is None:
            version = await self._version(self.mlflow_uri, name, alias)
        uri = self.mlflow_uri
        return await self._get(
            ("model", name, version), None, lambda: self.call(_download, uri, name, str(version))
        )

    async def _version(self, uri: str, name: str, alias: str | None) -> str:
        key = (name, alias or "")
        until, version = self._versions.get(key, (0.0, ""))
        if time.monotonic() >= until:
            version = await self.call(_find_version, uri, name, alias)
            self._versions[key] = (time.monotonic() + ALIAS_SECONDS, version)
            while len(self._versions) > 100:
                self._versions.popitem(last=False)
        return version

    async def _get(
        self, key: Key, mark: Any, load: Callable[[], Awaitable[ServedModel]]
    ) -> Answerer:
        # One at a time: two at once would be loaded for nothing.
        async with self._loading:
            kept = self._kept.get(key)
            if kept is None or kept.mark != mark:
                answerer = Answerer(await load(), self.settings, self.instruments)
                self.forget(*key[1:])
                answerer.start()
                self._kept[key] = kept = Loaded(answerer, mark)
                while len(self._kept) > KEPT:
                    _, old = self._kept.popitem(last=False)
                    _end_soon(old.answerer)
            self._kept.move_to_end(key)
            return kept.answerer

    def forget(self, *names: str) -> None:
        """Let go of a job's model, or of a version of a registered one."""
        for key in [key for key in self._kept if key[1:] == names]:
            _end_soon(self._kept.pop(key).answerer)

    async def close(self) -> None:
        """Answer what waits, and let go of all."""
        for kept in self._kept.values():
            await anyio.to_thread.run_sync(kept.answerer.close)
        self._kept.clear()


def _end_soon(answerer: Answerer) -> None:
    """End a model's thread when it has answered what waits, without waiting for that here."""
    asyncio.get_running_loop().run_in_executor(None, answerer.close)


def _mark(weights: Path) -> tuple[int, int, int] | None:
    """Return what tells whether a file is the one it was: it is always replaced as a whole."""
    try:
        facts = os.stat(weights)
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


# ---- MLflow --------------------------------------------------------------------------------------


def _find_version(uri: str, name: str, alias: str | None) -> str:
    client = _client(uri)
    with _telling(name):
        if alias is not None:
            return str(client.get_model_version_by_alias(name, alias).version)
        quoted = name.replace("'", "\\'")
        found = client.search_model_versions(f"name = '{quoted}'", max_results=1000)
    if not found:
        raise HTTPException(404, f"MLflow has no registered model {name!r}")
    return str(max(int(version.version) for version in found))


def _download(uri: str, name: str, version: str) -> ServedModel:
    """Load a registered model: its files are gone again when this returns."""
    client = _client(uri)
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="minidl-model-") as folder:
        with _telling(name):
            client.get_model_version(name, version)
            place = download_artifacts(
                artifact_uri=f"models:/{name}/{version}", dst_path=folder, tracking_uri=uri
            )
        return ServedModel.load(Path(place))


def _client(uri: str) -> Any:
    try:
        from minidl.train.tracking.mlflow_client import prepare_environment

        prepare_environment()
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise HTTPException(
            409, "registered models need MLflow: pip install 'minidl[mlflow]'"
        ) from error
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Turn what MLflow says into what a client is told."""
    try:
        yield
    except Exception as error:
        code = getattr(error, "error_code", "")
        if code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise HTTPException(404, f"MLflow has no such version of {name!r}") from error
        log.warning("MLflow does not answer: %s", error)
        raise HTTPException(503, "MLflow does not answer now", {"Retry-After": "10"}) from error
