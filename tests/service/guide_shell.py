"""Guides that are walked: their commands, in a shell, and what they print.

(PYTEST_DONT_REWRITE: test modules import it, before pytest does.)
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from cli_process import command, environment

MARK = "::ends with::"


def steps_of(guide: str, prompt: str = "$") -> list[tuple[str, list[str]]]:
    """Return each command of a page, and the lines that are shown below it."""
    return [
        (shown.splitlines()[0], shown.splitlines()[1:])
        for block in re.findall(r"```console\n(.*?)```", guide, re.DOTALL)
        for shown in re.split(rf"^{re.escape(prompt)} ", block, flags=re.MULTILINE)[1:]
    ]


def files_of(guide: str) -> dict[str, str]:
    """Return the files of a page, by the name in their first line."""
    return dict(re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", guide, re.DOTALL))


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


def alike(line: str, folder: Path) -> str:
    """Return a line without what differs from run to run."""
    for form, word in [
        (re.escape(str(folder)), "~"),
        (r"minidl_\w+_[\w-]{43}|minidl_…", "TOKEN"),
        (r"\b[0-9a-z]{16}\b", "JOB"),
        (r" \(place \d+ in the queue\)", ""),  # it may have begun before it is asked for
        # A table's column of times is empty where a job was over before it was seen to begin.
        (r"(\d+ min \d\d s|[\d.]+ s) +(?=\d{4}-\d\d-\d\d)", ""),
        (r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?", "WHEN"),
        (r"[▁-█]+", "CURVE"),
        (r"\d+ min \d\d s|[\d.]+ s\b", "TIME"),
        (r"[\d.,]+ (B|kB|MB)\b", "SIZE"),
        (r"127\.0\.0\.1:\d+", "HERE"),
        (r"-?\d+(\.\d+)?(e-?\d+)?", "N"),
    ]:
        line = re.sub(form, word, line)
    return " ".join(line.split())


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
