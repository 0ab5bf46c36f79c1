"""The op table, a network and a training on a real GPU; they skip, and say why, where none is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from optable import CASES, parts, plain
from optable.samples import map_arrays

from minidl import Tensor, nn, optim
from minidl.autograd import arrays


@pytest.fixture(autouse=True)
def gpu() -> None:
    try:
        arrays.opened("cuda")
    except RuntimeError as error:
        pytest.skip(str(error))


def test_operations_give_the_host_s_values() -> None:
    there = lambda x: Tensor(x).to("cuda")
    failures = []
    for op, number, sample in CASES:
        if not sample.smooth:
            continue
        try:
            wanted = op(*map_arrays(Tensor, sample.args), **map_arrays(Tensor, sample.kwargs))
            found = op(*map_arrays(there, sample.args), **map_arrays(there, sample.kwargs))
            for one, two in zip(parts(found), parts(wanted), strict=True):
                assert one.device.startswith("cuda:")
                np.testing.assert_allclose(one.numpy(), plain(two), rtol=1e-7, atol=1e-9)
        except Exception as error:
            error.add_note(f"{op.name}, sample {number}")
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"{len(failures)} samples", failures)


def test_a_network_learns_as_on_the_host() -> None:
    losses = {}
    for device in ("cpu", "cuda"):
        rng = np.random.default_rng(0)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Dropout(0.2, rng=rng), nn.Linear(64, 5, rng=rng),
        ).to(device)  # fmt: skip
        optimizer, loss = optim.AdamW(model.parameters(), lr=1e-2), nn.CrossEntropyLoss()
        x = Tensor(rng.standard_normal((16, 1, 8, 8)).astype(np.float32)).to(device)
        y = Tensor(rng.integers(0, 5, 16)).to(device)
        losses[device] = []
        for _ in range(5):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            losses[device].append(value.item())
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-4)


def test_the_quickstart_takes_two_steps(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    overrides = ["device=cuda", "trainer.max_steps=2", "trainer.epochs=null", "tracking=null"]
    command = [sys.executable, "-m", "minidl", "train", str(config), *overrides]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
