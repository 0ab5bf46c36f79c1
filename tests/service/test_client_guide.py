"""The walk-through of docs/service.md is walked: its commands, in a shell, and what they print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guide_shell import Shell, are_shown, files_of, steps_of
from services import RunningService, start_service

pytestmark = pytest.mark.slow

GUIDE = (Path(__file__).parents[2] / "docs/service.md").read_text(encoding="utf-8")
WALK = GUIDE.partition("## In five minutes")[2].partition("\n## ")[0]
STEPS, FILES = steps_of(WALK), files_of(WALK)


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
