"""Tasks: what trains, what is told, what is shown, what is refused."""

# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import Done, run_quietly

from minidl import nn
from minidl.tensor import Tensor
from minidl.train.build import build
from minidl.train.config import ConfigError
from minidl.train.tasks import divergence

pytest_plugins = ["tiny_runs"]

HEAD = "seed: 3\ndata: {type: MNISTSample, batch_size: 100, val_fraction: 0.9}\n"
AUTO = f"""{HEAD}task: {{type: Reconstruction}}
model: {{type: Autoencoder, latent: 8, width: 4}}
loss: {{type: BCEWithLogitsLoss}}
optimizer: {{type: Adam, lr: 5e-3}}
trainer: {{epochs: 3, monitor: val/loss, name: tiny}}
"""
GAN = f"""{HEAD}task: {{type: Adversarial}}
model: {{type: DCGANSmall, latent: 8, width: 4}}
optimizer: {{type: Adam, lr: 5e-4, betas: [0.5, 0.9]}}
trainer: {{epochs: 2, monitor: val/loss, name: tiny}}
"""


def values(done: Done, name: str) -> list[float]:
    return [entry.metrics[name] for entry in done.entries if name in entry.metrics]


@pytest.mark.parametrize("model", ["Autoencoder", "VAE"])
def test_reconstruction_learns_and_shows(tiny: Any, model: str) -> None:
    done = run_quietly(tiny(text=AUTO.replace("Autoencoder", model)))
    losses = values(done, "val/loss")
    assert losses[-1] < 0.7 * np.log(2)  # what an even gray costs
    assert losses == sorted(losses, reverse=True)
    assert "val/accuracy" not in done.entries[-1].metrics
    shown = {path.name for path in done.run.plots.iterdir()}
    wanted = {"curves.png", "reconstructions.png"} | ({"samples.png"} if model == "VAE" else set())
    assert shown == wanted
    assert done.result.metrics.keys() == {"test/loss"}


def test_the_divergence_is_that_of_torch(torch: Any) -> None:
    rng = np.random.default_rng(0)
    mean, log_variance = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    found = divergence(Tensor(mean), Tensor(log_variance)).item()
    normal = torch.distributions.Normal
    given = normal(torch.tensor(mean), torch.tensor(np.exp(0.5 * log_variance)))
    standard = normal(torch.zeros(5, 3).double(), torch.ones(5, 3).double())
    expected = torch.distributions.kl_divergence(given, standard).sum(1).mean()
    assert found == pytest.approx(float(expected))


def test_adversaries_take_turns(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(text=GAN)
    experiment = build(config)
    model: Any = experiment.model
    before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    moved: list[set[str]] = []
    step = experiment.optimizer.step

    def watched(*args: Any) -> Any:
        result = step(*args)
        changed = set()
        for name, p in model.named_parameters():
            if (p.detach().numpy() != before[name]).any():
                changed.add(name.split(".")[0])
            before[name] = p.detach().numpy().copy()
        moved.append(changed)
        return result

    monkeypatch.setattr(experiment.optimizer, "step", watched)

    class Free:
        def loss(self, value: float) -> None:
            assert np.isfinite(value)

        def gradients(self) -> None:
            pass

    inputs, targets = next(iter(experiment.data.train))
    (outcome,) = experiment.task.single(experiment, inputs, targets, Free())
    assert moved == [{"discriminator"}, {"generator"}]
    assert outcome.loss > 0
    assert inputs.numpy().min() == 0.0
    assert inputs.numpy().max() <= 1.0  # pixels, not normalized


def test_adversaries_keep_the_last_model(tiny: Any) -> None:
    done = run_quietly(tiny(text=GAN))
    assert done.result.best_epoch == 2
    assert {p.name for p in done.run.plots.iterdir()} == {"curves.png", "samples.png"}


def test_regression_of_a_table(tiny: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.3
    rows = [",".join(f"{v:.6f}" for v in (*row, t)) for row, t in zip(x, y, strict=True)]
    (tmp_path / "table.csv").write_text("a,b,c,y\n" + "\n".join(rows) + "\n")
    text = """seed: 1
data: {type: CSV, path: table.csv, target: y, task: regression, batch_size: 20, val_fraction: 0.2}
model: {type: Linear, out_features: 1}
loss: {type: MSELoss}
optimizer: {type: Adam, lr: 3e-2}
trainer: {epochs: 25, monitor: val/loss, name: tiny}
"""
    done = run_quietly(tiny(text=text))
    assert done.result.metrics["test/loss"] < 1e-3
    experiment = build(tiny(text=text))
    assert isinstance(experiment.model, nn.Linear)


def test_classes_of_a_table(tiny: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    rows = [f"{a},{b},{'up' if a > b else 'down'}" for a, b in x]
    (tmp_path / "table.csv").write_text("a,b,kind\n" + "\n".join(rows) + "\n")
    text = """data: {type: CSV, path: table.csv, target: kind, batch_size: 20}
model: {type: Linear, out_features: 2}
optimizer: {type: Adam, lr: 3e-2}
trainer: {epochs: 15, name: tiny}
"""
    assert run_quietly(tiny(text=text)).result.metrics["test/accuracy"] > 0.95


def test_mixed_samples_train(tiny: Any) -> None:
    mixed = "data.augment=[{type: RandomShift, pixels: 1}, {type: Mixup, alpha: 0.2}]"
    done = run_quietly(tiny(mixed, "trainer.epochs=8"))
    assert values(done, "train/accuracy")
    assert done.result.metrics["test/accuracy"] > 0.5


def test_the_rate_falls_on_a_plateau(tiny: Any) -> None:
    done = run_quietly(
        tiny(
            "schedule={type: ReduceLROnPlateau, patience: 0, factor: 0.5, mode: max, threshold: 0.9}",
            "trainer.epochs=3",
        )
    )
    rates = values(done, "lr")
    assert rates[0] == 0.01
    assert rates[-1] < 0.01


REFUSED = [
    (
        AUTO.replace(", monitor: val/loss", ""),
        [],
        "`monitor` is val/accuracy, and this config gives (.|\n)*there are: train/loss, val/loss",
    ),
    (
        AUTO.replace("type: Autoencoder, latent: 8, width: 4", "type: LeNet5"),
        [],
        "to give back the input",
    ),
    (AUTO.replace("kind", "x"), ["task={type: Reconstruct}"], "did you mean `Reconstruction`"),
    (
        GAN.replace("DCGANSmall, latent: 8, width: 4", "LeNet5"),
        [],
        "has no generator and discriminator",
    ),
    (AUTO, ["task={type: Regression}"], "number.s. to predict"),
    (AUTO, ["task={type: Reconstruction, kl_weight: -1.0}"], "must be at least 0"),
    (AUTO, ["data.augment=[{type: RandomCrop, size: 0}]"], "`size` must be"),
    (AUTO, ["data.augment=[{type: RandomCorp}]"], "`RandomCrop` belongs to `augment`"),
    (AUTO, ["data.augment=[{type: RandomAffine, scale: [1.2, 0.8]}]"], "from small to large"),
]


@pytest.mark.parametrize(("text", "overrides", "message"), REFUSED)
def test_refuses(tiny: Any, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(tiny(*overrides, text=text))


NESTED = f"""{HEAD}model:
  type: Sequential
  layers:
    - type: Conv2d
      out_channels: 8
      kernel_size: 3
      stride: 2
    - type: SkipConnection
      layer:
        type: Sequential
        layers:
          - {{type: Conv2d, out_channels: 8, kernel_size: 3, padding: 1}}
          - {{type: BatchNorm2d}}
      connection: add
    - type: Parallel
      connection: cat
      layers:
        - {{type: MaxPool2d, kernel_size: 2}}
        - {{type: AvgPool2d, kernel_size: 2}}
    - {{type: GlobalAvgPool}}
    - {{type: Maxout, layers: [{{type: Linear, out_features: 10}}, {{type: Linear, out_features: 10}}]}}
optimizer: {{type: NAdam}}
schedule: {{type: OneCycleLR, max_lr: 0.01}}
"""


def test_modules_nest_in_yaml_and_sizes_are_inferred_inside(tiny: Any) -> None:
    experiment = build(tiny(text=NESTED))
    assert isinstance(experiment.model, nn.Sequential)
    skip: Any = experiment.model[1]
    assert skip.layer[0].in_channels == 8
    assert experiment.model[4].layers[0].weight.shape == (10, 16)  # type: ignore[attr-defined]
    assert experiment.schedule.total_steps == experiment.total_steps
    assert max(experiment.rates()) == pytest.approx(0.01)
    again = tiny(text=tiny(text=NESTED).to_yaml())
    assert again == tiny(text=NESTED)


def test_an_error_inside_a_nested_module_names_its_line(tiny: Any) -> None:
    wrong = NESTED.replace("kernel_size: 3, padding: 1", "kernel_size: 31")
    with pytest.raises(ConfigError, match=r"tiny.yaml:14:13: Conv2d on an input of shape"):
        build(tiny(text=wrong))
    zoo = f"{HEAD}model: {{type: ViTTiny, patch_size: 29}}\noptimizer: {{type: Adam}}\n"
    with pytest.raises(ConfigError, match=r"tiny.yaml:3:8: .*in patches: Conv2d"):
        build(tiny(text=zoo))
