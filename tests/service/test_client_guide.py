"""The walk-through of docs/service.md is walked: its commands, in a shell, and what they print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import command, environment
from services import RunningService, start_service

pytestmark = pytest.mark.slow

GUIDE = (Path(__file__).parents[2] / "docs/service.md").read_text(encoding="utf-8")
WALK = GUIDE.partition("## In five minutes")[2].partition("\n## ")[0]
#: Each command, and the lines that are shown below it.
STEPS = [
    (shown.splitlines()[0], shown.splitlines()[1:])
    for block in re.findall(r"```console\n(.*?)```", WALK, re.DOTALL)
    for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
]
FILES = dict(re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", WALK, re.DOTALL))
MARK = "::ends with::"


class Shell:
    """A bash that is told one command after the other, and keeps its variables."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        # The commands come through a file of their own: standard input is what they read.
        reading, writing = os.pipe()
        self.script = os.fdopen(writing, "w", encoding="utf-8")
        self.process = subprocess.Popen(
            ["bash", f"/dev/fd/{reading}"],
            cwd=folder,
            env=environment(**variables),
            pass_fds=[reading],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        os.close(reading)
        self.tell(f'minidl() {{ {shlex.join(command())} "$@"; }}')

    def tell(self, line: str) -> tuple[int, list[str]]:
        """Run a command; return its status and what it printed."""
        self.script.write(f"{line}\necho {MARK} $?\n")
        self.script.flush()
        printed: list[str] = []
        assert self.process.stdout is not None
        for text in self.process.stdout:
            before, mark, status = text.rpartition(MARK)
            if mark:
                return int(status), printed + ([before] if before else [])
            printed.append(text.rstrip("\n"))
        raise AssertionError(f"bash has ended at {line}: {printed}")

    def close(self) -> None:
        self.script.close()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Services:
    """What the first terminal of the walk-through holds: a service, killed before the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: RunningService | None = None
        self.token = ""

    def begin(self) -> list[str]:
        port = "0"
        if self.running is not None:
            self.running.kill()
            port = self.running.url.rpartition(":")[2]
        self.running = start_service(self.folder / "minidl-service", "--port", port)
        self.token = self.running.token or self.token
        return [line.rstrip("\n") for line in self.running.said]


def alike(line: str, folder: Path) -> str:
    """Return a line without what differs from run to run."""
    for form, word in [
        (re.escape(str(folder)), "~"),
        (r"minidl_\w+_[\w-]{43}|minidl_…", "TOKEN"),
        (r"\b[0-9a-z]{16}\b", "JOB"),
        (r" \(place \d+ in the queue\)", ""),  # it may have begun before it is asked for
        (r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?", "WHEN"),
        (r"[▁-█]+", "CURVE"),
        (r"\d+ min \d\d s|[\d.]+ s\b", "TIME"),
        (r"[\d.,]+ (B|kB|MB)\b", "SIZE"),
        (r"127\.0\.0\.1:\d+", "HERE"),
        (r"-?\d+(\.\d+)?(e-?\d+)?", "N"),
    ]:
        line = re.sub(form, word, line)
    return " ".join(line.split())


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = Services(tmp_path)
    yield services
    if services.running is not None:
        services.running.stop()


def test_the_walk_through(tmp_path: Path, services: Services) -> None:
    assert len(STEPS) > 15
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    shell = Shell(tmp_path, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""})
    try:
        for line, shown in STEPS:
            if line == "minidl service":
                printed, status = services.begin(), 0
            else:
                assert services.running is not None
                told = line.replace("http://127.0.0.1:8080", services.running.url)
                if line.startswith("minidl login"):
                    (tmp_path / "token").write_text(services.token)
                    told += " < token"
                status, printed = shell.tell(told)
            wrong = any(text.startswith("command line:") for text in shown)
            assert status == (2 if wrong else 0), "\n".join([line, *printed])
            are_shown(shown, printed, tmp_path, line)
    finally:
        shell.close()


def are_shown(shown: list[str], printed: list[str], folder: Path, line: str) -> None:
    """Compare what a command printed with the page; ``…`` stands for any lines."""
    left = [alike(text, folder) for text in printed]
    for text in shown:
        if text == "…":
            continue
        wanted = alike(text, folder)
        assert wanted in left, "\n".join([f"$ {line}", f"does not print {text!r}:", *printed])
        left = left[left.index(wanted) + 1 :]
    if shown and "…" not in shown:
        assert len(printed) == len(shown), "\n".join([line, *printed])
