"""What verbs do on a terminal: a token that is asked for, and a table that stays up to date."""

from __future__ import annotations

import os
import pty
import signal
import stat
import subprocess
from pathlib import Path

from cli_process import command, environment
from scripted import json_answer, scripted_server

JOB = {"id": "01jdk3v8m2q4xyzt", "state": "running", "owner": "ada", "attempts": 2}


class Terminal:
    """A process with a terminal of its own."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.end, inner = pty.openpty()
        self.process = subprocess.Popen(
            command(*arguments),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment(TERM="xterm", COLUMNS="120", **variables),
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # xdist ignores it
        )
        os.close(inner)
        self.shown = ""

    def read_until(self, text: str, times: int = 1) -> None:
        while self.shown.count(text) < times:
            self.shown += os.read(self.end, 4096).decode()  # OSError: the process has ended

    def close(self) -> int:
        status = self.process.wait(240)
        os.close(self.end)
        return status


def test_a_token_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    with scripted_server(json_answer({"user": "ada", "role": "submit"})) as server:
        terminal = Terminal("login", server.url, XDG_CONFIG_HOME=str(tmp_path))
        terminal.read_until("token: ")
        os.write(terminal.end, b"minidl_abc_secret\n")
        terminal.read_until("you are ada (submit)")
        assert terminal.close() == 0
        assert server.requests[0].headers["authorization"] == "Bearer minidl_abc_secret"
    assert "secret" not in terminal.shown
    kept = tmp_path / "minidl" / "service.yaml"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text() == f"url: {server.url}\ntoken: minidl_abc_secret\n"


def test_a_watched_table_is_kept_up_to_date(tmp_path: Path) -> None:
    pages = [json_answer({"jobs": [{**JOB, "name": name}]}) for name in ("before", "after")]
    with scripted_server(*pages) as server:
        terminal = Terminal(
            *("jobs", "--watch", "--url", server.url), XDG_CONFIG_HOME=str(tmp_path)
        )
        terminal.read_until("before")
        terminal.read_until("after")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.close() == 0
    assert terminal.shown.index("before") < terminal.shown.index("after")
