"""Runs to be served: built and saved, not trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from minidl.serving.answering import Settings
from minidl.serving.app import create_app
from minidl.serving.served_model import ServedModel
from minidl.train.build import build
from minidl.train.checkpoint import write_atomically
from minidl.train.config import load_config
from minidl.train.inference import best_model
from minidl.train.run_directory import RunDirectory

CONFIGS = {
    "digits": """\
data: {type: MNISTSample}
model:
  type: Sequential
  layers: [{type: Flatten}, {type: Linear, out_features: 10}]
""",
    "numbers": """\
data: {type: CSV, path: houses.csv, target: price, task: regression, columns: [rooms, area]}
model:
  type: Sequential
  layers: [{type: Linear, out_features: 4}, {type: Tanh}, {type: Linear, out_features: 1}]
loss: {type: MSELoss}
trainer: {monitor: val/loss}
""",
    "kinds": """\
data: {type: CSV, path: houses.csv, target: kind, columns: [rooms, area]}
model:
  type: Sequential
  layers: [{type: Linear, out_features: 2}]
""",
    "pixels": """\
data: {type: MNISTSample}
task: {type: Reconstruction}
model: {type: Autoencoder, latent: 4, width: 4}
loss: {type: BCEWithLogitsLoss}
trainer: {monitor: val/loss}
""",
    "floats": """\
data: {type: NPZ, path: floats.npz}
model:
  type: Sequential
  layers: [{type: Flatten}, {type: Linear, out_features: 3}]
""",
}


def save_run(folder: Path, name: str) -> Path:
    """Make a run directory with an untrained model, always the same."""
    rng = np.random.default_rng(3)
    rooms, area = rng.integers(1, 9, 40), rng.uniform(20, 200, 40)
    lines = ["rooms,area,price,kind"] + [
        f"{r},{a:.1f},{r * 3 + a:.1f},{'house' if a > 100 else 'flat'}"
        for r, a in zip(rooms, area, strict=True)
    ]
    (folder / "houses.csv").write_text("\n".join(lines) + "\n")
    np.savez(folder / "floats.npz", x=rng.random((30, 3, 4, 5), np.float32), y=np.arange(30) % 3)
    text = CONFIGS[name]
    for path in ("houses.csv", "floats.npz"):
        text = text.replace(path, str(folder / path))
    defaults = "optimizer: {type: SGD, lr: 0.1}\n"
    if "loss:" not in text:
        defaults += "loss: {type: CrossEntropyLoss}\n"
    (folder / "config.yaml").write_text(text + defaults)
    overrides = [f"trainer.run_root={folder}", f"trainer.name={name}"]
    config = load_config(folder / "config.yaml", overrides)
    experiment = build(config)
    run = RunDirectory.create(config)
    write_atomically(run.weights, best_model(experiment.model, experiment.data))
    return run.root


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directories of runs by name, each made once. Tests must leave them as they are."""
    made: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in made:
            made[name] = save_run(tmp_path_factory.mktemp(name), name)
        return made[name]

    return run


@pytest.fixture(scope="session")
def served(runs: Callable[[str], Path]) -> Callable[[str], ServedModel]:
    """Loaded models by name."""
    made: dict[str, ServedModel] = {}

    def load(name: str) -> ServedModel:
        if name not in made:
            made[name] = ServedModel.load(runs(name))
        return made[name]

    return load


Open = Callable[..., TestClient]


@pytest.fixture
def client(served: Callable[[str], ServedModel]) -> Iterator[Open]:
    """Open a client of a model's app; errors within the server become answers with 500."""
    with ExitStack() as stack:

        def opened(name: str = "digits", settings: Settings | None = None) -> TestClient:
            app = create_app(served(name), settings)
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield opened
