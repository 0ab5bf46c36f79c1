"""Objects from a config: sizes inferred, mistakes placed at their line, parameters by the seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidl import nn
from minidl.optim import SGD, AdamW
from minidl.tensor import Tensor
from minidl.train.build import Experiment, build, build_model
from minidl.train.config import Config, ConfigError
from minidl.train.data_parts import build_data
from minidl.train.tasks import Classification

pytest_plugins = ["tiny_runs"]

HEAD = "data: {type: MNISTSample, batch_size: 100, val_fraction: 0.1}\n"
TAIL = "optimizer: {type: SGD, lr: 0.1}\ntrainer: {epochs: 3}\n"


def layers(*lines: str) -> str:
    """A config of these layers; the first one stands in line 5."""
    body = "".join(f"    - {{type: {line}}}\n" for line in lines)
    return f"{HEAD}model:\n  type: Sequential\n  layers:\n{body}{TAIL}"


@pytest.fixture
def refuses(tiny: Callable[..., Config]) -> Callable[..., str]:
    """Build what cannot be built; return the message."""

    def message(*overrides: str, **text: str) -> str:
        config = tiny(*overrides, **text)
        with pytest.raises(ConfigError) as caught:
            build(config)
        assert len(caught.value.problems) == 1
        return str(caught.value)

    return message


# ---- sizes that follow from the data ------------------------------------------------------------


def test_sizes_are_inferred_through_nested_sequentials(tiny: Callable[..., Config]) -> None:
    text = f"""\
{HEAD}model:
  type: Sequential
  layers:
    - type: Sequential
      layers:
        - {{type: Conv2d, out_channels: 4, kernel_size: 5, stride: 2}}
        - {{type: BatchNorm2d}}
        - {{type: ReLU}}
    - {{type: MaxPool2d, kernel_size: 3}}
    - {{type: Flatten}}
    - {{type: Linear, out_features: 12}}
    - {{type: BatchNorm1d}}
    - {{type: Linear, out_features: 10, bias: false}}
{TAIL}"""
    model = build(tiny(text=text)).model
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert shapes["0.0.weight"] == (4, 1, 5, 5)
    assert shapes["3.weight"] == (12, 64)
    assert shapes["4.running_var"] == (12,)
    assert shapes["0.1.weight"] == (4,)
    assert shapes["5.weight"] == (10, 12)
    assert "5.bias" not in shapes
    assert shapes["0.1.weight"] == (4,)
    assert shapes["5.weight"] == (10, 12)
    assert "5.bias" not in shapes


def test_a_model_is_left_as_it_began(tiny: Callable[..., Config]) -> None:
    text = layers("BatchNorm2d", "Flatten", "Linear, out_features: 10", "Dropout")
    model = build(tiny(text=text)).model
    assert all(module.training for module in model.modules())
    state = model.state_dict()
    np.testing.assert_array_equal(state["0.running_mean"].numpy(), [0.0])
    np.testing.assert_array_equal(state["0.running_var"].numpy(), [1.0])
    assert all(p.grad is None for p in model.parameters())


def test_a_given_size_is_held_against_the_data(refuses: Callable[..., str]) -> None:
    message = refuses(text=layers("Flatten", "Linear, in_features: 700, out_features: 10"))
    assert message.startswith("tiny.yaml:6:")
    assert "Linear on an input of shape (N, 784)" in message
    assert "700" in message


# ---- mistakes, each at its line -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (["Conv2d, out_channels: 4, kernel_size: 29"], 5, ["Conv2d", "(N, 1, 28, 28)", "29"]),
        (
            ["MaxPool2d, kernel_size: 4", "Conv2d, out_channels: 4, kernel_size: 9"],
            6,
            ["Conv2d", "(N, 1, 7, 7)"],
        ),
        (["Flatten", "Conv2d, out_channels: 4, kernel_size: 3"], 6, ["Conv2d", "(N, 784)"]),
        (["Flatten", "BatchNorm2d"], 6, ["BatchNorm2d", "(N, 784)"]),
        (["BatchNorm1d"], 5, ["BatchNorm1d", "(N, 1, 28, 28)"]),
        (["Flatten", "MaxPool2d, kernel_size: 2"], 6, ["MaxPool2d", "(N, 784)"]),
        (["Flatten, start_dim: 0", "BatchNorm1d"], 6, ["`num_features` cannot be inferred"]),
        (["Flatten, start_dim: 4"], 5, ["Flatten", "(N, 1, 28, 28)"]),
        (["Flatten", "Linear, out_features: 100000000000000"], 6, ["Linear", "(N, 784)"]),
    ],
)
def test_a_layer_that_does_not_fit(
    refuses: Callable[..., str], lines: list[str], line: int, words: list[str]
) -> None:
    message = refuses(text=layers(*lines))
    assert message.startswith(f"tiny.yaml:{line}:7: ")
    for word in words:
        assert word in message.splitlines()[0]


def test_a_layer_of_an_inner_sequential_is_named_at_its_line(refuses: Callable[..., str]) -> None:
    text = f"""\
{HEAD}model:
  type: Sequential
  layers:
    - type: Sequential
      layers:
        - {{type: Flatten}}
        - {{type: Conv2d, out_channels: 3, kernel_size: 3}}
{TAIL}"""
    assert refuses(text=text).startswith("tiny.yaml:8:11: Conv2d")


@pytest.mark.parametrize(
    ("lines", "shape"),
    [
        (["Flatten", "Linear, out_features: 9"], "(N, 9)"),
        (["Linear, out_features: 10"], "(N, 1, 28, 10)"),
        (["ReLU"], "(N, 1, 28, 28)"),
    ],
)
def test_an_output_that_is_not_one_number_a_class(
    refuses: Callable[..., str], lines: list[str], shape: str
) -> None:
    message = refuses(text=layers(*lines))
    assert message.startswith("tiny.yaml:3:3: ")
    assert f"output has shape {shape}" in message
    assert "wanted (N, 10)" in message
    assert "`out_features`" in message


def test_a_model_that_is_a_single_layer(refuses: Callable[..., str]) -> None:
    text = f"{HEAD}model: {{type: Linear, out_features: 10}}\n{TAIL}"
    assert "(N, 1, 28, 10)" in refuses(text=text)


def test_a_missing_data_directory(refuses: Callable[..., str]) -> None:
    text = layers("Flatten", "Linear, out_features: 10").replace(
        "type: MNISTSample,", "type: MNIST, root: not/there,"
    )
    message = refuses(text=text)
    assert message.startswith(f"tiny.yaml:1:{text.index('root: ') + 7}: ")
    assert "not/there: no such directory" in message
    assert "MNISTSample" in message


def test_a_damaged_data_file(refuses: Callable[..., str], tmp_path: Any) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte").write_bytes(b"nothing of the kind")
    text = layers("Flatten", "Linear, out_features: 10").replace(
        "type: MNISTSample,", "type: MNIST, root: .,"
    )
    assert "train-images-idx3-ubyte" in refuses(text=text)


@pytest.mark.parametrize("fraction", ["0.00001", "0.99999"])
def test_a_val_fraction_that_leaves_nothing(refuses: Callable[..., str], fraction: str) -> None:
    text = layers("Flatten", "Linear, out_features: 10").replace("0.1}", f"{fraction}}}", 1)
    message = refuses(text=text)
    assert message.startswith(f"tiny.yaml:1:{text.index(fraction) + 1}: ")
    assert "of 6,000 samples leaves" in message


def test_drop_last_that_leaves_nothing(refuses: Callable[..., str]) -> None:
    message = refuses("data.batch_size=5401", "data.drop_last=true", "data.val_fraction=0.1")
    assert "drop_last" in message
    assert "5400" in message


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "MSELoss"])
def test_a_loss_for_each_sample_cannot_be_trained(refuses: Callable[..., str], loss: str) -> None:
    message = refuses(f"loss={{type: {loss}, reduction: none}}")
    assert "command line: loss" in message
    assert "single number" in message
    assert "use mean (the default) or sum" in message


def test_class_weights_of_the_wrong_number(refuses: Callable[..., str]) -> None:
    assert "3" in refuses("loss={type: CrossEntropyLoss, weight: [1.0, 2.0, 3.0]}")


def test_settings_that_contradict_each_other(refuses: Callable[..., str]) -> None:
    message = refuses("optimizer={type: SGD, lr: 0.1, nesterov: true}")
    assert message.startswith("command line: optimizer")
    assert "momentum above 0" in message


def test_a_warm_up_longer_than_the_training(refuses: Callable[..., str]) -> None:
    message = refuses("schedule={type: CosineAnnealingLR, warmup_steps: 12}")
    assert message.startswith("command line: schedule")
    assert "12 steps of the whole training" in message


def test_batch_norm_and_a_last_batch_of_one_sample(
    refuses: Callable[..., str], tiny: Callable[..., Config]
) -> None:
    # 5,400 training samples: found here, not at the end of the first epoch.
    text = layers("Flatten", "Linear, out_features: 10", "BatchNorm1d").replace(": 100", ": 5399")
    message = refuses(text=text)
    assert message.startswith("tiny.yaml:1:39: ")
    assert "single sample" in message
    assert "drop_last: true" in message
    build(tiny("data.drop_last=true", text=text))
    plain = layers("Flatten", "Linear, out_features: 10").replace(": 100", ": 5399")
    build(tiny(text=plain))


# ---- what is made -------------------------------------------------------------------------------


def test_all_that_an_experiment_needs(tiny: Callable[..., Config]) -> None:
    experiment = build(tiny("schedule={type: CosineAnnealingLR, warmup_steps: 3}"))
    data = experiment.data
    assert [len(data.train), len(data.train.dataset)] == [6, 300]
    assert data.val is not None
    assert [len(data.val.dataset), len(data.test.dataset)] == [5700, 1000]
    assert (data.sample_shape, data.classes) == ((1, 28, 28), tuple("0123456789"))
    assert isinstance(experiment.loss, nn.CrossEntropyLoss)
    assert isinstance(experiment.optimizer, AdamW)
    assert experiment.total_steps == 12
    assert experiment.schedule.total_steps == 12
    assert experiment.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 / 4)
    inputs, labels = next(iter(data.train))
    assert inputs.shape == (50, 1, 28, 28)
    assert inputs.dtype == np.float32
    assert labels.dtype == np.int64


def test_optimizer_arguments_are_the_configs(tiny: Callable[..., Config]) -> None:
    optimizer = build(
        tiny("optimizer={type: SGD, lr: 0.5, momentum: 0.8, nesterov: true}")
    ).optimizer
    assert isinstance(optimizer, SGD)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.5, 0.8, True)


def test_parameters_follow_from_the_seed(tiny: Callable[..., Config]) -> None:
    def parameters(*overrides: str) -> list[bytes]:
        return [p.detach().numpy().tobytes() for p in build(tiny(*overrides)).model.parameters()]

    assert parameters() == parameters()
    assert all(a != b for a, b in zip(parameters(), parameters("seed=8"), strict=True))


def test_dropout_draws_from_the_experiments_generator(tiny: Callable[..., Config]) -> None:
    experiment = build(tiny())
    dropouts = [m for m in experiment.model.modules() if isinstance(m, nn.Dropout)]
    assert [m.rng for m in dropouts] == [experiment.rng]


def test_validation_samples_are_stratified_and_drawn_by_the_seed(
    tiny: Callable[..., Config],
) -> None:
    def held_out(seed: int) -> Any:
        data = build_data(tiny(f"seed={seed}", "data.val_fraction=0.1"))
        assert data.val is not None
        whole = np.bincount(data.train.dataset.targets) + np.bincount(data.val.dataset.targets)
        part = np.bincount(data.val.dataset.targets)
        assert np.abs(part - 0.1 * whole).max() < 1
        return data.val.dataset.inputs

    np.testing.assert_array_equal(held_out(1), held_out(1))
    assert (held_out(1) != held_out(2)).any()


def test_no_validation_samples(tiny: Callable[..., Config]) -> None:
    data = build_data(tiny("data.val_fraction=0", "trainer.monitor=train/loss"))
    assert data.val is None
    assert len(data.train.dataset) == 6000


def test_build_model_takes_any_sample_shape(tiny: Callable[..., Config]) -> None:
    model = build_model(tiny(), (3, 4, 5), np.random.default_rng(0))
    assert model(Tensor(np.zeros((2, 3, 4, 5), np.float32))).shape == (2, 10)


# ---- how a batch's loss counts ------------------------------------------------------------------

WEIGHTS = [1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 1.0, 0.25, 1.0, 4.0]


def measured(experiment: Experiment, logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean loss and weight of a batch for which the model gives these logits."""
    experiment.model = nn.Identity()
    _, outcome = experiment.task.outcome(experiment, Tensor(logits), Tensor(labels))
    return outcome.loss, outcome.weight


@pytest.mark.parametrize(
    "loss",
    [
        "{type: CrossEntropyLoss}",
        "{type: CrossEntropyLoss, reduction: sum}",
        f"{{type: CrossEntropyLoss, weight: {WEIGHTS}, label_smoothing: 0.2}}",
        f"{{type: CrossEntropyLoss, weight: {WEIGHTS}, reduction: sum}}",
        "{type: CrossEntropyLoss, ignore_index: 3}",
        "{type: MSELoss}",
        "{type: MSELoss, reduction: sum}",
    ],
)
def test_batches_average_exactly(tiny: Callable[..., Config], loss: str) -> None:
    experiment: Experiment = build(tiny(f"loss={loss}"))
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 10)).astype(np.float32)
    labels = rng.integers(0, 10, size=40)

    def measure(part: slice) -> tuple[float, float]:
        return measured(experiment, logits[part], labels[part])

    whole, weight = measure(slice(None))
    parts = [measure(slice(0, 7)), measure(slice(7, 8)), measure(slice(8, 40))]
    assert sum(w for _, w in parts) == pytest.approx(weight)
    assert sum(m * w for m, w in parts) / weight == pytest.approx(whole, rel=1e-5)


def test_a_sum_is_shown_as_the_mean_that_it_sums(tiny: Callable[..., Config]) -> None:
    logits, labels = np.eye(10, dtype=np.float32), np.arange(10)
    shown = [
        measured(
            build(tiny(f"loss={{type: CrossEntropyLoss, reduction: {reduction}}}")), logits, labels
        )
        for reduction in ("mean", "sum")
    ]
    assert shown[0] == pytest.approx(shown[1])


def test_a_batch_that_is_ignored_counts_for_nothing(tiny: Callable[..., Config]) -> None:
    experiment = build(tiny("loss={type: CrossEntropyLoss, ignore_index: 3, reduction: sum}"))
    assert measured(experiment, np.zeros((4, 10), np.float32), np.full(4, 3)) == (0.0, 0.0)


def test_a_squared_error_takes_one_hot_targets(tiny: Callable[..., Config]) -> None:
    experiment = build(tiny("loss={type: MSELoss}"))
    assert isinstance(experiment.task, Classification)
    targets = experiment.task.wanted(experiment, Tensor(np.array([2, 0])))
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets.numpy(), np.eye(10)[[2, 0]])
