"""From a checked config to the objects it names.

Sizes that follow from the data need not be written: a layer without them is lazy, and takes the
arguments named by its class's ``infer`` from the first batch, which is a probe made here. So an
image too small for its kernel is found at its line in the config, before anything is created.
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
from minidl.data.augment import Compose
from minidl.nn import CrossEntropyLoss, Lazy, Module, MSELoss
from minidl.nn.functional import one_hot
from minidl.nn.places import Place
from minidl.optim import Optimizer
from minidl.tensor import Tensor
from minidl.train.config import Config, ConfigError
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
            rest,
            spec.batch_size,
            shuffle=True,
            seed=config.seed,
            drop_last=spec.drop_last,
            augment=_augmentation(config, len(dataset.classes)),
            prefetch=spec.prefetch,
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


def _augmentation(config: Config, num_classes: int) -> Compose | None:
    """Make the augmentations that the config names, in their order."""
    made = []
    for i, spec in enumerate(config.data.augment):
        cls = registry()["augment"][spec.type]
        arguments = spec.arguments()
        if "num_classes" in inspect.signature(cls).parameters:
            arguments.setdefault("num_classes", num_classes)
        try:
            made.append(cls(**arguments))
        except (ValueError, TypeError) as error:
            raise config.problem(("data", "augment", i), str(error)) from error
    return Compose(made) if made else None


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
    places: dict[int, Path] = {}
    model = _make_module(config, config.model, ("model",), rng, places)
    # Two samples: batch normalization in training would refuse a single one.
    probe = Tensor(np.zeros((2, *sample_shape), np.float32))
    try:
        with no_grad():
            model.eval()(probe)
    except (ValueError, TypeError, IndexError, MemoryError, RuntimeError) as error:
        raise _misfit(config, error, places) from error
    return model.train()


def _misfit(config: Config, error: Exception, places: dict[int, Path]) -> ConfigError:
    """Return the error of a layer that does not fit, at the line where it was written."""
    place: Place | None = getattr(error, "place", None)
    if place is None:
        return config.problem(("model",), str(error))
    written = next((m for m in place.trail if id(m) in places), place.trail[-1])
    name, message = type(written).__name__, place.message
    if isinstance(written, Lazy):
        name = written.becomes_class.__name__
    if written is place.module and place.given:
        shown = _shown(place.given[0]) if hasattr(place.given[0], "shape") else "()"
        message = f"{name} on an input of shape {shown}: {message.removeprefix(f'{name}: ')}"
    else:
        message = str(place).replace("\n  in ", "; in ")
    return config.problem(places.get(id(written), ("model",)), message)


def _make_module(
    config: Config, spec: Spec, path: Path, rng: np.random.Generator, places: dict[int, Path]
) -> Module:
    """Make one module and those in it; note in ``places`` where each was written."""
    cls: Any = registry()["model"][spec.type]
    positional: list[Module] = []
    arguments: dict[str, Any] = {}
    for name, value in spec.arguments().items():
        if isinstance(value, Spec):
            value = _make_module(config, value, (*path, name), rng, places)
        elif isinstance(value, list) and value and isinstance(value[0], Spec):
            value = [
                _make_module(config, part, (*path, name, i), rng, places)
                for i, part in enumerate(value)
            ]
        if name == "layers" and "layers" not in _keywords(cls):
            positional = value
        else:
            arguments[name] = value
    if "rng" in _keywords(cls):
        arguments["rng"] = rng
    try:
        if any(name not in arguments for name in cls.infer):
            module: Module = Lazy(cls, **arguments)
        elif positional and "connection" in arguments:
            module = cls(arguments.pop("connection"), *positional, **arguments)
        else:
            module = cls(*positional, **arguments)
    except (ValueError, TypeError, IndexError, MemoryError) as error:
        raise config.problem(path, f"{spec.type}: {error}") from error
    places[id(module)] = path
    return module


def _keywords(cls: type[Module]) -> set[str]:
    """Return the names of arguments that can be given by name."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name for p in parameters if p.kind is not p.VAR_POSITIONAL}


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
            if truth.ndim == 2:  # probabilities, as mixing makes them: one loss a sample
                return loss, float(len(truth))
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
        if isinstance(self.loss, MSELoss) and labels.ndim == 1:
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
        cls = registry()["schedule"][config.schedule.type]
        known = inspect.signature(cls).parameters
        more = {"total_steps": total_steps} if "total_steps" in known else {}
        schedule = _construct(config, "schedule", config.schedule, optimizer, **more)
    experiment = Experiment(data, model, loss, optimizer, schedule, rng, total_steps)
    _check_loss(config, experiment)
    return experiment


def _construct(config: Config, section: str, spec: Spec, *positional: Any, **more: Any) -> Any:
    classes: Registry = registry()
    try:
        return classes[section][spec.type](*positional, **more, **spec.arguments())
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
