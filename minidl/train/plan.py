"""What a training would do, without doing any of it."""

from __future__ import annotations

from pathlib import Path

from minidl import nn
from minidl.train.build import build, build_callbacks
from minidl.train.config import Config
from minidl.train.limits import Limits
from minidl.train.publish import require_tracking
from minidl.train.tracking import mlflow_uri


def describe_plan(config: Config, limits: Limits | None = None) -> str:
    """Build all that a config names, and say what a training would be; nothing is created.

    Raises
    ------
    ConfigError
        Something cannot be made.
    """
    require_tracking(config)
    experiment = build(config, limits=limits)
    callbacks = build_callbacks(config)
    data, settings = experiment.data, config.trainer
    parts = {"training": data.train, "validation": data.val, "test": data.test}
    summary = nn.summary(experiment.model, (2, *data.sample_shape))
    rates = experiment.rates()
    batch = data.train.batch_size * settings.accumulate
    where = Path(settings.run_root) / (settings.name or "a name made of time and config")
    lines = [
        str(summary),
        "",
        f"data       {data.name}: "
        + ", ".join(f"{len(part.dataset):,} {name}" for name, part in parts.items() if part),
        f"steps      {experiment.length()}, of {batch:,} samples",
        f"rate       {rates[0]:.3g} at first, {max(rates):.3g} at most, {rates[-1]:.3g} at last",
        f"best by    {settings.monitor}, validated every {_often(settings.validate_every)}",
        f"checkpoint every {_often(settings.checkpoint_every)}",
        f"run        {where}",
    ]
    if callbacks:
        lines.append(f"callbacks  {', '.join(type(callback).__name__ for callback in callbacks)}")
    if config.tracking is not None:
        section = config.tracking
        lines.append(f"MLflow     {section.experiment} at {mlflow_uri.redacted(section.uri)}")
    return "\n".join(lines)


def _often(often: tuple[int, str]) -> str:
    number, unit = often
    return unit.removesuffix("s") if number == 1 else f"{number} {unit}"
