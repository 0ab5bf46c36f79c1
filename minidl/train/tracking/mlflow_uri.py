"""Where a run is tracked: what a tracking URI means, and how a person opens it.

Pure functions on strings and paths; MLflow itself is not needed for any of them. A relative
SQLite path is fixed to the directory the run was started from, so that the same store is meant
wherever the address is used later; artifacts are given an absolute place beside the database for
the same reason (MLflow's default is a path relative to whoever opens it).
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit


def answer_seconds() -> float:
    """Return how long a server may take to answer before it is given up: 5 s, or the user's."""
    try:
        return float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    except (KeyError, ValueError):
        return 5.0


def resolve_uri(uri: str) -> str:
    """Return ``uri`` with a relative SQLite path made absolute; other stores as they are.

    >>> resolve_uri("http://localhost:5000/")
    'http://localhost:5000'

    Raises
    ------
    ValueError
        The address names no store that MLflow 3 can write to.
    """
    uri = uri.strip()
    scheme = uri.split(":", 1)[0].lower() if ":" in uri else ""
    if scheme in ("http", "https"):
        if not urlsplit(uri).hostname:
            raise ValueError(f"tracking uri {uri!r} names no host; say e.g. http://localhost:5000")
        return uri.rstrip("/")
    if scheme.split("+")[0] == "sqlite":
        return _resolve_sqlite(uri)
    if uri != "databricks" and (len(scheme) < 2 or scheme == "file"):
        raise ValueError(
            f"tracking uri {uri!r} is a plain directory, which MLflow 3 no longer writes to; "
            "use a database file (sqlite:///mlflow.db) or a server (http://localhost:5000)"
        )
    return uri


def _resolve_sqlite(uri: str) -> str:
    driver, _, rest = uri.partition("://")
    location, mark, query = rest.partition("?")
    path = location.removeprefix("/")
    if not location.startswith("/") or path in ("", ":memory:"):
        raise ValueError(
            f"tracking uri {uri!r} names no database file; "
            "say sqlite:///mlflow.db, or with four slashes from the root: sqlite:////srv/mlflow.db"
        )
    return f"{driver}:///{Path(path).absolute().as_posix()}{mark}{query}"


def sqlite_path(uri: str) -> Path | None:
    """Return the database file of a resolved SQLite URI, None for any other store.

    >>> sqlite_path("http://localhost:5000") is None
    True
    """
    driver, _, rest = uri.partition("://")
    if driver.split("+")[0].lower() != "sqlite":
        return None
    return Path(rest.partition("?")[0].removeprefix("/"))


def artifact_location(uri: str, experiment: str) -> str | None:
    """Return where a new experiment keeps its files: beside a SQLite database, by absolute path.

    None leaves the choice to the server, which knows better than its clients.
    """
    database = sqlite_path(uri)
    if database is None:
        return None
    folder = re.sub(r"[^\w.-]+", "_", experiment).strip("._") or "experiment"
    return (database.parent / "mlartifacts" / folder).as_uri()


def redacted(uri: str) -> str:
    """Return ``uri`` without its password, for messages and logs.

    >>> redacted("postgresql://me:secret@db/mlflow")
    'postgresql://me:***@db/mlflow'
    """
    return re.sub(r"(://[^/:@]*):[^/@]*@", r"\1:***@", uri)


def open_command(uri: str, experiment_id: str | None = None, run_id: str | None = None) -> str:
    """Return what shows the run: a URL for a server, a shell command for a database.

    >>> open_command("http://localhost:5000", "3", "abc")
    'http://localhost:5000/#/experiments/3/runs/abc'
    """
    shown = redacted(uri)
    if shown.startswith(("http://", "https://")):
        if experiment_id is None or run_id is None:
            return shown
        return f"{shown}/#/experiments/{experiment_id}/runs/{run_id}"
    return f"mlflow ui --backend-store-uri {shlex.quote(shown)}"


def why_no_answer(uri: str, seconds: float) -> str | None:
    """Ask a server for any answer at all; return why there is none, or None where there is one.

    A refusal (401, 404, a certificate MLflow may have been told to accept) is an answer: what it
    means is for MLflow to say. Stores that are no servers always "answer".
    """
    import urllib.error  # and with it ssl and http: 50 ms that a local store need not pay
    import urllib.request

    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return None
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(f"{parts.scheme}://{host}{parts.path}/health")
    try:
        # An opener of our own: urlopen would install one for the whole process.
        urllib.request.build_opener().open(request, timeout=seconds).close()
    except urllib.error.HTTPError as error:
        error.close()
    except urllib.error.URLError as error:
        if "certificate" in str(error.reason).lower():
            return None
        return _reason(error.reason, seconds)
    except (OSError, ValueError) as error:
        return _reason(error, seconds)
    return None


def _reason(error: object, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    return str(getattr(error, "strerror", None) or error)
