"""From a checked config to the objects it names.

Sizes that follow from the data need not be written: each layer is shown the shape that the layers
before it make of one sample, and takes the argument named by its class's ``infer`` from there.
So an image too small for its kernel is found here, at its line in the config, before anything
is created.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.data import ArrayDataset, DataLoader, split
from minidl.nn import CrossEntropyLoss, Module, MSELoss, Sequential
from minidl.nn.functional import one_hot
from minidl.optim import Optimizer
from minidl.tensor import Tensor
from minidl.train.config import Config
from minidl.train.schema import Registry, Spec, registry

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Data:
    """A dataset in its three parts, and what a model must know of it."""

    name: str
    train: DataLoader
    val: DataLoader | None
    test: DataLoader
    sample_shape: tuple[int, ...]
    classes: tuple[str, ...]
    mean: float
    std: float


def build_data(config: Config) -> Data:
    """Read the dataset and cut it into batches.

    The validation part is drawn from the training samples, stratified, by the config's seed.

    Raises
    ------
    ConfigError
        The dataset cannot be read, or leaves no batch; placed at the config's line.
    """
    spec = config.data
    path: Path = ("data", "root") if "root" in spec.arguments() else ("data",)
    try:
        dataset = registry()["data"][spec.type](**spec.arguments())
        rest: ArrayDataset = dataset.train
        held_out: ArrayDataset | None = None
        path = ("data", "val_fraction")
        if spec.val_fraction:
            rest, held_out = split(dataset.train, fraction=spec.val_fraction, seed=config.seed)
            if not (len(rest) and len(held_out)):
                raise ValueError(
                    f"{spec.val_fraction} of {len(dataset.train):,} samples leaves {len(rest):,} "
                    f"for training and {len(held_out):,} for validation; both want some"
                )

        def loader(part: ArrayDataset, size: int, **how: Any) -> DataLoader:
            return DataLoader(part, size, mean=dataset.mean, std=dataset.std, **how)

        path = ("data", "batch_size")
        train = loader(
            rest, spec.batch_size, shuffle=True, seed=config.seed, drop_last=spec.drop_last
        )
        # Evaluation keeps no graph, so its batches may be larger; they do not change its result.
        large = max(spec.batch_size, 256)
        val = None if held_out is None else loader(held_out, large)
        return Data(
            name=dataset.name,
            train=train,
            val=val,
            test=loader(dataset.test, large),
            sample_shape=dataset.sample_shape,
            classes=dataset.classes,
            mean=dataset.mean,
            std=dataset.std,
        )
    except (OSError, ValueError) as error:
        raise config.problem(path, str(error)) from error


def build_model(config: Config, sample_shape: Sequence[int], rng: np.random.Generator) -> Module:
    """Make the model, inferring the sizes that the config leaves out.

    Parameters
    ----------
    sample_shape
        Shape of one sample, without the batch's axis.
    rng
        Draws the initial parameters, and later the dropout masks.

    Raises
    ------
    ConfigError
        An argument or a shape does not fit; placed at the layer's line.
    """
    # Two samples: batch normalization in training would refuse a single one.
    probe = Tensor(np.zeros((2, *sample_shape), np.float32))
    model, _ = _build_module(config, config.model, ("model",), probe, rng)
    return model


def _build_module(
    config: Config, spec: Spec, path: Path, x: Any, rng: np.random.Generator
) -> tuple[Module, Any]:
    """Make one module and what it makes of ``x``."""
    cls = registry()["model"][spec.type]
    if cls is Sequential:
        modules = []
        for i, layer in enumerate(spec.arguments()["layers"]):
            module, x = _build_module(config, layer, (*path, "layers", i), x, rng)
            modules.append(module)
        return Sequential(*modules), x
    arguments = spec.arguments()
    assert issubclass(cls, Module)
    for name, axis in cls.infer.items():
        if name not in arguments:
            if not -x.ndim <= axis < x.ndim:
                raise config.problem(
                    path,
                    f"{spec.type}: `{name}` cannot be inferred from an input of shape "
                    f"{_shown(x)}; give it, or check the layer before",
                )
            arguments[name] = x.shape[axis]
    if "rng" in inspect.signature(cls).parameters:
        arguments["rng"] = rng
    try:
        module = cls(**arguments).eval()
        with no_grad():
            x = module(x)
    except (ValueError, TypeError, IndexError, MemoryError) as error:
        raise config.problem(
            path, f"{spec.type} on an input of shape {_shown(x)}: {error}"
        ) from error
    return module.train(), x


def _shown(x: Any) -> str:
    """The shape with the batch's length left open."""
    return f"(N, {', '.join(str(size) for size in x.shape[1:])})"


@dataclass
class Experiment:
    """Everything that a run trains with."""

    data: Data
    model: Module
    loss: Module
    optimizer: Optimizer
    schedule: Any
    rng: np.random.Generator
    total_steps: int

    def mean_loss(self, loss: float, labels: Tensor) -> tuple[float, float]:
        """Return a batch's loss as a mean over samples, and the weight it has in a larger mean.

        Without class weights that is the number of samples. With them a batch's mean is one over
        the sum of its samples' weights, and batches average exactly only by these sums.
        """
        if isinstance(self.loss, CrossEntropyLoss):
            truth = labels.numpy()
            truth = truth[truth != self.loss.ignore_index]
            classes = self.loss.weight
            weight = float(len(truth) if classes is None else classes.numpy()[truth].sum())
        else:
            weight = float(len(labels))
        if not weight:
            return 0.0, 0.0
        return (loss / weight if getattr(self.loss, "reduction", "") == "sum" else loss), weight

    def measure(self, logits: Tensor, labels: Tensor) -> tuple[float, float]:
        """Return what `mean_loss` makes of these logits."""
        return self.mean_loss(self.loss(logits, self.targets(labels)).item(), labels)

    def targets(self, labels: Tensor) -> Tensor:
        """Return class labels as the loss takes them: as one-hot floats for a squared error."""
        if isinstance(self.loss, MSELoss):
            hot: Tensor = one_hot(labels, len(self.data.classes)).to(np.float32)
            return hot
        return labels


def build(config: Config) -> Experiment:
    """Make all objects that a config names.

    Raises
    ------
    ConfigError
        One cannot be made; placed at its line.
    """
    data = build_data(config)
    rng = np.random.default_rng([config.seed, 1])
    model = build_model(config, data.sample_shape, rng)
    _check_output(config, model, data)
    _check_smallest_batch(config, model, data)
    loss = _construct(config, "loss", config.loss)
    if getattr(loss, "reduction", "mean") == "none":
        raise config.problem(
            ("loss", "reduction"),
            "`reduction` of none leaves a loss for each sample; training wants a single number",
            "use mean (the default) or sum",
        )
    optimizer = _construct(config, "optimizer", config.optimizer, list(model.parameters()))
    total_steps = config.trainer.epochs * len(data.train)
    schedule = None
    if config.schedule is not None:
        schedule = _construct(config, "schedule", config.schedule, optimizer, total_steps)
    experiment = Experiment(data, model, loss, optimizer, schedule, rng, total_steps)
    _check_loss(config, experiment)
    return experiment


def _construct(config: Config, section: str, spec: Spec, *positional: Any) -> Any:
    classes: Registry = registry()
    try:
        return classes[section][spec.type](*positional, **spec.arguments())
    except (ValueError, TypeError) as error:
        raise config.problem((section,), str(error)) from error


def _check_output(config: Config, model: Module, data: Data) -> None:
    probe = Tensor(np.zeros((2, *data.sample_shape), np.float32))
    with no_grad():
        out = model.eval()(probe)
    model.train()
    if out.shape != (2, len(data.classes)):
        raise config.problem(
            ("model",),
            f"the model's output has shape {_shown(out)}, but {data.name} has "
            f"{len(data.classes)} classes: wanted (N, {len(data.classes)})",
            "end with Flatten and a Linear layer whose `out_features` is the number of classes",
        )


def _check_smallest_batch(config: Config, model: Module, data: Data) -> None:
    """Batch normalization refuses some batches of one sample, which an epoch may end with."""
    left_over = len(data.train.dataset) % data.train.batch_size
    smallest = data.train.batch_size if data.train.drop_last or not left_over else left_over
    if smallest > 1:
        return
    probe = Tensor(np.zeros((1, *data.sample_shape), np.float32))
    try:
        # A copy: a forward pass in training moves running statistics and the generator.
        with no_grad():
            copy.deepcopy(model).train()(probe)
    except ValueError as error:
        raise config.problem(
            ("data", "batch_size"),
            f"of {len(data.train.dataset):,} training samples, batches of {data.train.batch_size} "
            f"leave one with a single sample, which the model cannot be trained on: {error}",
            "choose another `batch_size`, or set `drop_last: true`",
        ) from error


def _check_loss(config: Config, experiment: Experiment) -> None:
    classes = len(experiment.data.classes)
    logits, labels = Tensor(np.zeros((classes, classes), np.float32)), Tensor(np.arange(classes))
    try:
        experiment.measure(logits, labels)
    except (ValueError, TypeError, IndexError) as error:
        raise config.problem(("loss",), str(error)) from error
