"""The sections of a config: what each may hold, and its defaults.

What a class named by ``type`` accepts is not said here but taken from its signature (``schema``).
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PrivateAttr, Strict

from minidl.train.config.nodes import KeyPath, Source
from minidl.train.config.problems import ConfigError
from minidl.train.config.schema import DataSpec, Section, Spec, plain
from minidl.train.config.yaml_scalars import dump_yaml, variables

Positive: TypeAlias = Annotated[float, Field(gt=0)]
Size: TypeAlias = Annotated[int, Field(ge=1)]


#: How often: ``[500, steps]`` or ``[1, epochs]``; see `minidl.train.triggers`.
Often: TypeAlias = Annotated[tuple[Size, Literal["steps", "epochs"]], Strict(False)]


class EarlyStop(Section):
    """When to stop before the end."""

    patience: Size
    """Validations without a better value of the monitored metric."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By how much a value must be better to count."""


class Averaging(Section):
    """An exponential moving average of the weights, which is validated and kept in their place."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """What stays of the average at each step."""


class TrainerSection(Section):
    """How long to train, what to watch, and where to write."""

    max_steps: Size | None = None
    """Optimizer steps to train for at most."""
    max_time: Annotated[str, Field(pattern=r"^(\d+:)?\d{1,2}:\d{2}:\d{2}$")] | None = None
    """Time to train for at most, over all attempts: "HH:MM:SS" or "DD:HH:MM:SS"."""
    epochs: Size | None = Field(
        default_factory=lambda given: None if given.get("max_steps") or given.get("max_time") else 5
    )
    """Passes over the training samples; 5 where nothing else ends the training."""
    accumulate: Size = 1
    """Batches whose gradients make one step."""
    compile: bool | Literal["auto"] = "auto"
    """Record the step once and replay it, with the same bits: where it can be (auto), always (true:
    an error where it cannot), or never (false)."""
    validate_every: Often = (1, "epochs")
    """How often the model is validated, and kept if it is the best so far."""
    checkpoint_every: Often = (1, "epochs")
    """How often the state of the training is written, to be taken up from there."""
    monitor: Annotated[str, Field(examples=["val/accuracy", "val/loss", "train/loss"])] = (
        "val/accuracy"
    )
    """Name of the metric that tells the best model, and when to stop early."""
    early_stop: EarlyStop | None = None
    """Stop when the monitored metric no longer gets better."""
    ema: Averaging | None = None
    """Validate and keep a moving average of the weights."""
    clip_norm: Positive | None = None
    """Scale gradients down to this norm where theirs is larger."""
    clip_value: Positive | None = None
    """Cut each gradient's elements at plus and minus this value."""
    nan_guard: Literal["stop", "skip", "rollback"] = "stop"
    """What to do where loss or gradients are no numbers: end the run, leave the step out, or go
    back to the weights of the last checkpoint and on with the next batch."""
    sync_batch_norm: bool = False
    """On several ranks, take the statistics of batch normalization over the whole batch, and not
    over each rank's share."""
    log_every: Size = 50
    """Steps between two points of the training metrics."""
    run_root: str = "runs"
    """Directory that run directories are made in."""
    name: str | None = None
    """Name of the run's directory; by default one made of the time and the config's digest."""


class TrackingSection(Section):
    """What MLflow is told. Without this section a run keeps its journal only."""

    experiment: str = "minidl"
    """Name of the experiment."""
    uri: str = "sqlite:///mlflow.db"
    """Tracking store or server."""
    run_name: str | None = None
    """Name of the run in MLflow."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of the run."""
    log_model: bool = True
    """Log the best checkpoint as a model that MLflow can serve."""
    system_metrics: bool = False
    """Log the machine's load."""
    description: str | None = None
    """Text that MLflow shows at the top of the run's page."""
    registered_model: str | None = None
    """Name of the registered model whose next version a finished run's model becomes."""
    alias: str | None = None
    """Alias of the registered model that goes to the newest finished run, as `champion`."""
    parent_run_id: str | None = None
    """The run in MLflow that this one is shown under, as a trial under its sweep."""


class Range(Section):
    """Values between two bounds, both included; whole numbers where both are written as such."""

    low: int | float
    """The smallest value."""
    high: int | float
    """The largest value."""
    step: int | float | None = None
    """Distance between neighbouring values; by default 1 for whole numbers, and none for others."""
    log: bool = False
    """Take the logarithm as evenly spread: for learning rates, and whatever spans decades."""


Number: TypeAlias = Annotated[int, Field(ge=0)]


class Grid(Section):
    """Every combination of the values once, the last parameter changing fastest."""

    type: Literal["Grid"] = "Grid"


class Random(Section):
    """Each trial for itself, at random."""

    type: Literal["Random"] = "Random"
    seed: Number = 0
    """Trial number n has the same values in every sweep of this seed."""


class TPE(Section):
    """Tree-structured Parzen estimator: more trials near the good ones (Bergstra et al., 2011)."""

    type: Literal["TPE"] = "TPE"
    seed: Number = 0
    """Of its random choices."""
    n_startup_trials: Number = 10
    """Trials at random before it begins to learn."""
    multivariate: bool = True
    """Look at parameters together, not one by one."""


class CMAES(Section):
    """Covariance matrix adaptation (Hansen & Ostermeier, 2001): for numbers, not for choices."""

    type: Literal["CMAES"] = "CMAES"
    seed: Number = 0
    """Of its random choices."""
    n_startup_trials: Size = 1
    """Trials at random before it begins to learn."""
    popsize: Size | None = None
    """Trials in a generation; by default 4 + 3 ln(number of parameters)."""


class Median(Section):
    """End trials that are worse than half of the others were at the same validation."""

    type: Literal["Median"] = "Median"
    n_startup_trials: Number = 5
    """Finished trials before any is ended early."""
    n_warmup_steps: Number = 0
    """Validations that each trial is given in any case."""


class SuccessiveHalving(Section):
    """At each rung let the best 1/reduction_factor go on (ASHA; Li et al., 2018)."""

    type: Literal["SuccessiveHalving"] = "SuccessiveHalving"
    min_resource: Size = 1
    """Validations before the first rung."""
    reduction_factor: Annotated[int, Field(ge=2)] = 4
    """How many reach a rung for one that goes on from it."""
    min_early_stopping_rate: Number = 0
    """Rungs left out at the beginning."""


class Hyperband(Section):
    """Several successive halvings side by side, from hasty to patient (Li et al., 2017)."""

    type: Literal["Hyperband"] = "Hyperband"
    min_resource: Size = 1
    """Validations before the first rung of the hastiest."""
    max_resource: Size | None = None
    """Validations of a whole trial; by default as many as the trainer's epochs."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """How many reach a rung for one that goes on from it."""


class SweepSection(Section):
    """What ``minidl sweep`` varies, and how; ``minidl train`` leaves it alone."""

    parameters: dict[str, Annotated[list[Any], Field(min_length=1)] | Range] = Field(
        default_factory=dict
    )
    """Dotted paths into the config, each with a list of values or a range."""
    metric: str | None = None
    """What is to become good; by default what the trainer monitors."""
    direction: Literal["minimize", "maximize"] | None = None
    """By default the metric's own: down for losses and errors, up for shares of what is right."""
    sampler: Annotated[Grid | Random | TPE | CMAES, Field(discriminator="type")] | None = None
    """How values are chosen; by default Grid where there are only lists, else TPE."""
    pruner: (
        Annotated[Median | SuccessiveHalving | Hyperband, Field(discriminator="type")] | None
    ) = None
    """How poor trials are ended early; by default not at all."""
    trials: Size | None = None
    """Trials in all; by default 20, or the whole grid."""
    jobs: Size = 1
    """Trials at a time on this machine."""
    storage: str | None = None
    """Where the study is kept: ``sqlite:///sweep.db``, ``postgresql://user@host/database``; by
    default a SQLite file in the sweep's directory."""
    study: str | None = None
    """Name of the study and of its directory; by default the config's file name."""
    stop_after_failures: Size = 5
    """Give up when so many trials in a row have failed."""


#: Sections within ``sweep`` that, like a model or an optimizer, are of one of several classes.
SWEEP_CLASSES: dict[KeyPath, dict[str, type[Section]]] = {
    ("sweep", "sampler"): {"Grid": Grid, "Random": Random, "TPE": TPE, "CMAES": CMAES},
    ("sweep", "pruner"): {
        "Median": Median,
        "SuccessiveHalving": SuccessiveHalving,
        "Hyperband": Hyperband,
    },
}
#: What says how runs are searched for, and nothing of a run itself.
NOT_OF_A_RUN = frozenset({"sweep"})


class Config(Section):
    """A checked configuration. Two configs are equal when their resolved data are.

    A ``Spec`` (``data``, ``model``, …) gives its class's name as ``type`` and its constructor's
    arguments by ``arguments()``; layers of a ``Sequential`` are specs in ``arguments()["layers"]``.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    """Of every random choice in the run."""
    device: str = "cpu"
    """Where to train: cpu, or cuda (cuda:1 is the second GPU), which wants the extra `cuda`."""
    dtype: Literal["float32", "float64"] = "float32"
    """What parameters are, and what is computed in: float64 takes twice the memory and time."""
    data: DataSpec
    """What is learnt from, and how it is cut into batches."""
    task: Spec | None = None
    """What the model is to do; by default it follows from the data: classes, or numbers."""
    model: Spec
    """What learns. Sizes that follow from the data can be left out."""
    loss: Spec
    """What is made small."""
    optimizer: Spec
    """How the parameters are changed."""
    schedule: Spec | None = None
    """How the learning rate goes over the run; without one it stays as it is."""
    metrics: list[Spec] = Field(default_factory=list)
    """What is measured on whole sets of samples, beside the loss and what the task always has."""
    callbacks: list[Spec] = Field(default_factory=list)
    """What else happens while a model is trained, in this order."""
    trainer: TrainerSection = TrainerSection()
    """How long to train, what to watch, and where to write."""
    tracking: TrackingSection | None = None
    """What MLflow is told; without it, a run keeps its journal only."""
    sweep: SweepSection | None = None
    """What a sweep varies, and how; a single run leaves it unread."""

    _source: Source = PrivateAttr()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.resolved() == other.resolved()

    def __hash__(self) -> int:
        return hash(self.digest())

    @property
    def source_text(self) -> str:
        """The text of the file that the config was read from.

        The texts of the files that it includes follow, as comments.
        """
        _, *others = self._source.texts.items()
        parts = [self._source.text]
        for name, text in others:
            lines = [f"# {line}".rstrip() for line in [f"included: {name}", *text.splitlines()]]
            parts.append("\n".join(["", *lines, ""]))
        return "".join(parts)

    def place(self, path: KeyPath) -> str:
        """Return where the value at ``path`` was written, as ``file:line:column``.

        For what was not written at all (a default), it is the place of the nearest thing around it.
        """
        return str(self._source.trail(path)[-1].place)

    def origin(self, path: KeyPath) -> str:
        """Say whose word the value at ``path`` is.

        ``default``, ``file:line``, ``command line``, or ``env NAME at file:line``.
        """
        trail = self._source.trail(path)
        node = trail[-1]
        if len(trail) <= len(path):
            return "default"
        place = node.place
        where = f"{place.file}:{place.line}" if place.line else place.file.partition(":")[0]
        names = [name for name in variables(node.written or "") if name in os.environ]
        return f"env {', '.join(names)} at {where}" if names else where

    def problem(self, path: KeyPath, message: str, suggestion: str | None = None) -> ConfigError:
        """Return an error about the value at ``path``, for the caller to raise.

        The builder uses it to say which line a constructor's or a shape error comes from.
        """
        place = self._source.trail(path)[-1].place
        return ConfigError([self._source.problem(place, message, suggestion)])

    def resolved(self) -> dict[str, Any]:
        """Return the config of a run as plain data with all defaults filled in."""
        names = [name for name in Config.model_fields if name not in NOT_OF_A_RUN]
        return {name: plain(getattr(self, name)) for name in names}

    def to_yaml(self) -> str:
        """Return ``resolved()`` as YAML, which loads again to an equal config."""
        return dump_yaml(self.resolved())

    def flat(self) -> dict[str, str]:
        """Return ``resolved()`` under dotted paths (``model.layers.0.type``), values as text."""
        return dict(_leaves("", self.resolved()))

    def digest(self) -> str:
        """Return the SHA-256 of the resolved config: equal for configs that mean the same run."""
        canonical = json.dumps(self.resolved(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def flatten(data: Any) -> dict[str, str]:
    """Return nested plain data under dotted paths, values as text.

    Examples
    --------
    >>> flatten({"trainer": {"epochs": 5}, "layers": [{"type": "ReLU"}]})
    {'trainer.epochs': '5', 'layers.0.type': 'ReLU'}
    """
    return dict(_leaves("", data))


def _leaves(path: str, value: Any) -> list[tuple[str, str]]:
    children: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list) and any(isinstance(child, (dict, list)) for child in value):
        children = list(enumerate(value))
    if not children:
        return [(path, value if isinstance(value, str) else json.dumps(value))]
    return [
        leaf
        for key, child in children
        for leaf in _leaves(f"{path}.{key}" if path else str(key), child)
    ]
