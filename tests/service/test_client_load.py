"""The load test, reduced: under many clients at once nothing is lost, and nothing is double."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cli_process import ROOT, environment

pytest_plugins = ["databases"]
pytestmark = pytest.mark.slow

REDUCED = """--jobs 50 --submissions 80 --clients 16 --rounds 3 --followers 20 --seconds 1
  --soak-minutes 0.02 --json"""


def test_nothing_is_lost_and_nothing_is_double(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/bench/service.py", "--db", database_url, *REDUCED.split()],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["lost"], seen["double"], seen["jobs that nobody was told of"]) == (0, 0, 0)
    assert seen["jobs of those submissions"] == 80
    assert seen["followers whose log was whole"] == 20
    assert seen["followers that lost their connection"] == 0
    assert 0 < seen["submit p50"] <= seen["submit p99"]
