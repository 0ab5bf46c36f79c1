"""From a checked config to the objects it names.

Sizes that follow from the data need not be written: a layer without them is lazy, and takes the
arguments named by its class's ``infer`` from the first batch, which is a probe made here. So an
image too small for its kernel is found at its line in the config, before anything is created.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.autograd import no_grad
from minidl.autograd.arrays import opened
from minidl.distributed import World, current
from minidl.nn import Lazy, Module, SyncBatchNorm
from minidl.nn.places import Place
from minidl.optim import Optimizer, Schedule
from minidl.tensor import Tensor
from minidl.train.balance import loss_weights
from minidl.train.batch_sizes import check_ranks, check_smallest_batch
from minidl.train.config import Config, ConfigError
from minidl.train.config.schema import Registry, Spec, registry
from minidl.train.data_parts import Data, build_data
from minidl.train.limits import Limits
from minidl.train.measuring import make_metrics
from minidl.train.metrics.metric import Metric
from minidl.train.tasks import Classification, Regression, Task

if TYPE_CHECKING:
    from minidl.train.callbacks import Callback

Path = tuple[str | int, ...]


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


def in_its_dtype(config: Config, module: Module) -> Module:
    """Return a module in the dtype that the config says: it is made in float32."""
    return module if config.dtype == "float32" else module.to(dtype=config.dtype)


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
    total_steps: int | None
    task: Task
    accumulate: int = 1
    metrics: list[Metric] = field(default_factory=list)
    device: str = "cpu"
    dtype: str = "float32"
    world: World = field(default_factory=World)

    def placed(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return a batch where the model is, and in the model's dtype."""
        if self.dtype != "float32":
            inputs = inputs.to(self.dtype)
            targets = targets.to(self.dtype) if targets.dtype.kind == "f" else targets
        if self.device == "cpu":
            return inputs, targets
        return inputs.to(self.device), targets.to(self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return math.ceil(len(self.data.train) / self.accumulate)

    def length(self) -> str:
        """Say how long the training is."""
        if self.total_steps is None:
            return f"{self.steps_per_epoch:,} steps an epoch, until the time is over"
        epochs = self.total_steps / self.steps_per_epoch
        return f"{self.total_steps:,} steps in {epochs:.4g} epochs"

    def rates(self) -> list[float]:
        """Return the learning rate of every step (of the first group), as the schedule has it.

        What depends on the training itself (`ReduceLROnPlateau`) is shown as it begins.
        """
        steps = self.total_steps or self.steps_per_epoch
        rate = float(self.optimizer.param_groups[0]["lr"])
        if not isinstance(self.schedule, Schedule):
            return [rate] * steps
        return [self.schedule.group_lr_at(step, 0) for step in range(steps)]


def build(
    config: Config, *, limits: Limits | None = None, world: World | None = None
) -> Experiment:
    """Make all objects that a config names.

    Parameters
    ----------
    limits
        How much of the data to use; by default all.
    world
        The ranks that train together; by default those that this process has joined.

    Raises
    ------
    ConfigError
        One cannot be made; placed at its line.
    """
    _check_device(config)
    world = current() if world is None else world
    task = _make_task(config)
    data = build_data(config, normalize=task.normalizes, limits=limits, world=world)
    rng = np.random.default_rng([config.seed, 1])
    model = build_model(config, data.sample_shape, rng)
    _check_task(config, task, model, data)
    metrics = make_metrics(config, task, data.classes)
    check_ranks(config, task, model, data, world)
    check_smallest_batch(config, model, data, world)
    loss = _construct(config, "loss", config.loss, **loss_weights(config, data))
    if getattr(loss, "reduction", "mean") == "none":
        raise config.problem(
            ("loss", "reduction"),
            "`reduction` of none leaves a loss for each sample; training wants a single number",
            "use mean (the default) or sum",
        )
    if config.trainer.sync_batch_norm:  # alone, such layers are what they were
        SyncBatchNorm.convert_sync_batchnorm(model)
    for module in (model, loss):
        module.to(device=config.device)
        in_its_dtype(config, module)
    optimizer = _construct(config, "optimizer", config.optimizer, list(model.parameters()))
    _check_accumulation(config, task)
    total_steps = _total_steps(config, len(data.train))
    schedule = None
    if config.schedule is not None:
        cls = registry()["schedule"][config.schedule.type]
        more = {}
        if "total_steps" in inspect.signature(cls).parameters:
            if total_steps is None:
                raise config.problem(
                    ("schedule",),
                    f"{config.schedule.type} wants to know how many steps there will be, and "
                    "`max_time` alone does not say",
                    "give `epochs` or `max_steps` in `trainer` too",
                )
            more = {"total_steps": total_steps}
        schedule = _construct(config, "schedule", config.schedule, optimizer, **more)
    experiment = Experiment(
        *(data, model, loss, optimizer, schedule, rng, total_steps, task),
        accumulate=config.trainer.accumulate,
        metrics=metrics,
        device=config.device,
        dtype=config.dtype,
        world=world,
    )
    _check_loss(config, experiment)
    if world.rank:  # the same weights as all, and dropout masks of its own
        rng.bit_generator.state = generator_of(config, world.rank).bit_generator.state
    return experiment


def generator_of(config: Config, rank: int, *, step: int = 0) -> np.random.Generator:
    """Return what another rank than the first draws from, at first or after so many steps."""
    return np.random.default_rng([config.seed, 1, rank, step])


def build_callbacks(config: Config) -> list[Callback]:
    """Make the callbacks that a config names.

    Raises
    ------
    ConfigError
        One cannot be made; placed at its line.
    """
    made: list[Callback] = []
    for i, spec in enumerate(config.callbacks):
        try:
            made.append(registry()["callbacks"][spec.type](**spec.arguments()))
        except (ValueError, TypeError) as error:
            raise config.problem(("callbacks", i), str(error)) from error
    return made


def _total_steps(config: Config, batches: int) -> int | None:
    """Return how many optimizer steps a training has at most; None where only time limits it."""
    settings = config.trainer
    limits = [] if settings.max_steps is None else [settings.max_steps]
    if settings.epochs is not None:
        limits.append(settings.epochs * math.ceil(batches / settings.accumulate))
    return min(limits, default=None)


def _check_device(config: Config) -> None:
    """Hold that the device is there, before anything is made."""
    try:
        opened(config.device)
    except (ValueError, RuntimeError) as error:
        raise config.problem(("device",), str(error)) from error
    if config.device != "cpu" and config.trainer.compile is True:
        raise config.problem(
            ("trainer", "compile"),
            f"steps on {config.device} cannot be recorded: that is for arrays of the host",
            "leave `compile` out",
        )


def _check_accumulation(config: Config, task: Task) -> None:
    if config.trainer.accumulate > 1 and not task.accumulates:
        raise config.problem(
            ("trainer", "accumulate"),
            f"{type(task).__name__} takes its steps batch by batch, and cannot accumulate",
            "leave `accumulate` out, and choose a larger `batch_size`",
        )


def _construct(config: Config, section: str, spec: Spec, *positional: Any, **more: Any) -> Any:
    classes: Registry = registry()
    try:
        return classes[section][spec.type](*positional, **{**spec.arguments(), **more})
    except (ValueError, TypeError) as error:
        raise config.problem((section,), str(error)) from error


def _make_task(config: Config) -> Task:
    if config.task is None:
        numbers = config.data.arguments().get("task") == "regression"
        return Regression() if numbers else Classification()
    try:
        made: Task = registry()["task"][config.task.type](**config.task.arguments())
    except (ValueError, TypeError) as error:
        raise config.problem(("task",), str(error)) from error
    return made


def _check_task(config: Config, task: Task, model: Module, data: Data) -> None:
    """Hold the model against the task."""
    try:
        task.check(model, data)
    except ValueError as error:
        hint = "end with Flatten and a Linear layer whose `out_features` is the number of classes"
        raise config.problem(
            ("model",), str(error), hint if task.classifies and data.classes else None
        ) from error


def _check_loss(config: Config, experiment: Experiment) -> None:
    """Try the loss on what it will be given."""
    task, data = experiment.task, experiment.data
    if isinstance(task, Classification):
        labels = Tensor(np.arange(len(data.classes)))
        logits = Tensor(np.zeros((len(labels), len(labels)), np.float32))
        trial: Any = lambda: experiment.loss(logits, task.wanted(experiment, labels))
    else:
        inputs, targets = experiment.placed(
            Tensor(np.full((2, *data.sample_shape), 0.5, np.float32)),
            Tensor(data.train.dataset.targets[:2]),
        )
        trial = lambda: task.outcome(experiment, inputs, targets)
    try:
        # A copy of the model: a forward pass in training moves running statistics.
        with no_grad():
            experiment.model.eval()
            trial()
    except (ValueError, TypeError, IndexError) as error:
        raise config.problem(("loss",), str(error)) from error
    finally:
        experiment.model.train()
