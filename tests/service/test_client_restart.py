"""Whoever follows a job while its service is killed and started again sees all of it, once."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import tiny_jobs
from cli_process import command, environment
from services import StartService

pytest_plugins = ["services"]

CONFIG = """\
seed: 7
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.95}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 10}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 40}
"""


def test_following_through_a_killed_service(start: StartService, tmp_path: Path) -> None:
    path = tiny_jobs.environment(tmp_path / "hidden")["PYTHONPATH"]  # no plots
    service = start("data", PYTHONPATH=path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    port = service.url.rpartition(":")[2]
    variables = {"MINIDL_SERVICE_URL": service.url, "MINIDL_SERVICE_TOKEN": str(service.token)}
    trouble = tmp_path / "trouble"
    with trouble.open("w") as errors:
        process = subprocess.Popen(
            command("submit", "config.yaml", "--follow"),
            cwd=tmp_path,
            env=environment(**variables),
            text=True,
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    said = ""
    while not re.search(r"epoch +2/40 ", said):
        line = process.stdout.readline()
        assert line, said
        said += line
    service.kill()
    start("data", "--port", port)
    with process.stdout:  # not communicate(): it leaves out what was read ahead of the lines above
        said += process.stdout.read()
    assert process.wait(240) == 0, trouble.read_text()
    first, _, shown = said.partition("\n")
    job = first.split()[0]
    log = (service.data / "jobs" / job / "log.txt").read_text(encoding="utf-8")
    shown, _, last = shown.rstrip("\n").rpartition("\n")
    assert shown + "\n" == log
    assert re.findall(r"epoch +(\d+)/40 ", log) == [str(number) for number in range(1, 41)]
    assert last.startswith(f"{job}  succeeded  test/accuracy ")
    assert f"{service.url} does not answer; trying again for 300 s" in trouble.read_text()
