"""The guide's commands, run as they stand, print what the guide shows."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from cli_process import ROOT, command
from guide_shell import Shell, are_shown, files_of, steps_of
from mpi_process import environment, launcher

GUIDE = (ROOT / "docs" / "ranks.md").read_text(encoding="utf-8")


def test_the_guide(tmp_path: Path) -> None:
    for name, text in files_of(GUIDE).items():
        (tmp_path / name).write_text(text)
    programs = tmp_path / "bin"
    programs.mkdir()
    minidl = programs / "minidl"
    minidl.write_text(f'#!/bin/sh\nexec {shlex.join(command())} "$@"\n')
    minidl.chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(launcher()).parent), os.environ["PATH"]])
    shell = Shell(tmp_path, environment(PATH=path, PYTHONWARNINGS="ignore"))
    try:
        for line, shown in steps_of(GUIDE):
            status, printed = shell.tell(line)
            assert status == 0, "\n".join([line, *printed])
            are_shown(shown, printed, tmp_path, line)
    finally:
        shell.close()
