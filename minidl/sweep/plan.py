"""A sweep before it begins: what it varies, in how many trials, and whether that can be done.

Everything that a user can get wrong is found here: each value is put into the config and checked
as if it stood there, and the models of the first ``BUILT`` variants are built, before anything is
made.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.sweep.dimensions import Dimension, Stored, is_dimension, read_dimensions
from minidl.train.config import Config, ConfigError, load_config
from minidl.train.config.nodes import KeyPath, Node
from minidl.train.config.problems import Place, show
from minidl.train.config.sections import TPE, Grid, SweepSection
from minidl.train.config.variants import mistake, together, vary, written
from minidl.train.metrics import higher_is_better

DEFAULT_TRIALS = 20
MOST_OF_A_GRID = 10_000
#: Building reads the data and makes the model, a tenth of a second and more for each.
BUILT = 12

Parameters = Mapping[str, Stored]


@dataclass(frozen=True)
class Plan:
    """What a sweep does.

    ``config`` is the config with the command line's changes; ``grid`` is every combination, where
    there is an end to them and the sampler is ``Grid``.
    """

    config: Config
    section: SweepSection
    dimensions: tuple[Dimension, ...]
    metric: str
    maximize: bool
    sampler: Any
    trials: int
    jobs: int
    study: str
    storage: str
    directory: Path
    grid: tuple[dict[str, Stored], ...] | None = None

    def variant(self, parameters: Parameters) -> Config:
        """Return the config of a run with these values, and without a name of its own."""
        values = {
            dimension.path: (dimension.place, dimension.node(parameters[dimension.path]))
            for dimension in self.dimensions
            if dimension.path in parameters
        }
        config = vary(self.config, values)
        return config.model_copy(
            update={"trainer": config.trainer.model_copy(update={"name": None})}
        )

    def describe(self) -> str:
        """Say what would be done, and list a grid's trials."""
        width = max(len(dimension.path) for dimension in self.dimensions)
        lines = [
            f"sweep {self.study}: {self.trials} trials, {self.sampler.type}, to "
            f"{'maximize' if self.maximize else 'minimize'} {self.metric}; "
            f"in {self.directory}",
            *(f"  {d.path:<{width}}  {d.describe()}" for d in self.dimensions),
        ]
        for number, parameters in enumerate((self.grid or ())[: self.trials]):
            lines.append(f"trial {number}: {'  '.join(self.changes(parameters))}")
        return "\n".join(lines)

    def most_epochs(self) -> int:
        """Return the epochs of the longest trial; 1 where only steps or time limit it."""
        ends = [d.nodes for d in self.dimensions if d.path == "trainer.epochs"]
        varied = [int(node.plain()) for nodes in ends for node in nodes]
        return max(varied or [self.config.trainer.epochs or 1])

    def changes(self, parameters: Parameters) -> list[str]:
        """Return the values as changes on a command line would say them."""
        return [
            f"{dimension.path}={_written_out(dimension.node(parameters[dimension.path]).plain())}"
            for dimension in self.dimensions
            if dimension.path in parameters
        ]

    def words(self, parameters: Parameters) -> str:
        """Return the values for people: as changes, numbers to four digits."""
        said = []
        for dimension in self.dimensions:
            if dimension.path in parameters:
                value = dimension.node(parameters[dimension.path]).plain()
                shown = f"{value:.4g}" if isinstance(value, float) else _written_out(value)
                said.append(f"{dimension.path}={shown}")
        return "  ".join(said)

    def definition(self) -> dict[str, Any]:
        """Return what must be the same wherever, and whenever, one works on the same study.

        Where things lie (data, runs, MLflow) may differ from machine to machine.
        """
        base = vary(self.config, {}).resolved()
        base.pop("tracking")
        base["data"].pop("root", None)
        for name in ("run_root", "name"):
            base["trainer"].pop(name, None)
        space: dict[str, Any] = {}
        for dimension in self.dimensions:
            span, values = dimension.span, [node.plain() for node in dimension.nodes]
            space[dimension.path] = values if span is None else span.model_dump()
        return {
            "config": base,
            "parameters": space,
            "metric": self.metric,
            "maximize": self.maximize,
        }


def make_plan(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    trials: int | None = None,
    jobs: int | None = None,
    study: str | None = None,
    storage: str | None = None,
) -> Plan:
    """Read a config and check everything that the sweep would try.

    Parameters
    ----------
    overrides
        As for a training; those with several values (``optimizer.lr=1e-4,1e-3``) are varied.
    trials, jobs, study, storage
        In place of the config's own.

    Raises
    ------
    ConfigError
        With all that is wrong.
    """
    config = load_config(path, [text for text in overrides if not is_dimension(text)])
    dimensions = tuple(read_dimensions(config, overrides))
    section = config.sweep or SweepSection()
    if not dimensions:
        raise _problem(
            config,
            ("sweep", "parameters"),
            "there is nothing to vary",
            "give values in the file's `sweep: {parameters: …}`,"
            " or on the command line: optimizer.lr=1e-4,1e-3",
        )
    metric = section.metric or config.trainer.monitor
    sampler = section.sampler or (Grid() if all(d.span is None for d in dimensions) else TPE())
    name = study or section.study or Path(path).stem
    if not re.fullmatch(r"[\w][\w.-]*", name):
        raise _problem(
            config,
            ("sweep", "study"),
            f"a study's name is made of letters, digits, `_`, `-` and `.`, got {show(name)}",
        )
    directory = Path(config.trainer.run_root) / name
    grid = _grid(config, dimensions) if isinstance(sampler, Grid) else None
    wanted = trials or section.trials
    plan = Plan(
        config=config,
        section=section,
        dimensions=dimensions,
        metric=metric,
        maximize=_maximizes(section, metric),
        sampler=sampler,
        trials=min(wanted or len(grid), len(grid)) if grid else wanted or DEFAULT_TRIALS,
        jobs=jobs or section.jobs,
        study=name,
        storage=storage or section.storage or f"sqlite:///{(directory / 'study.db').as_posix()}",
        directory=directory,
        grid=grid,
    )
    if (directory / "config.yaml").exists():
        raise _problem(
            config,
            ("sweep", "study"),
            f"{directory} is the directory of a run, and would be that of the sweep",
            "--study NAME gives it another",
        )
    _check_storage(plan, given=storage)
    _check_values(plan)
    return plan


def _maximizes(section: SweepSection, metric: str) -> bool:
    if section.direction is None:
        return higher_is_better(metric)
    return section.direction == "maximize"


def _grid(config: Config, dimensions: Sequence[Dimension]) -> tuple[dict[str, Stored], ...]:
    values = []
    for dimension in dimensions:
        each = dimension.grid()
        if each is None:
            raise mistake(
                config,
                dimension.place,
                f"a grid has no end of values for `{dimension.path}`: {dimension.describe()}",
                "give a list or a `step`, or another sampler (Random, TPE)",
            )
        values.append(each)
    size = math.prod(len(each) for each in values)
    if size > MOST_OF_A_GRID:
        raise _problem(
            config,
            ("sweep", "parameters"),
            f"the grid has {size:,} combinations; {MOST_OF_A_GRID:,} are the most",
            "use another sampler (Random, TPE)",
        )
    paths = [dimension.path for dimension in dimensions]
    return tuple(dict(zip(paths, each, strict=True)) for each in itertools.product(*values))


def _check_storage(plan: Plan, *, given: str | None) -> None:
    """Refuse what is no address of SQLite or PostgreSQL, or needs what is not installed."""
    from importlib.util import find_spec

    scheme = plan.storage.partition("://")[0].partition("+")[0]
    if scheme not in ("sqlite", "postgresql") or "://" not in plan.storage:
        message = f"`storage` must be sqlite:///FILE or postgresql://…, got {show(plan.storage)}"
    elif scheme == "sqlite" and plan.storage.partition(":///")[2] in ("", ":memory:"):
        message = "`storage` must name a file: a study in memory cannot be gone on with"
    elif "+" not in plan.storage and scheme == "postgresql" and find_spec("psycopg") is None:
        message = "PostgreSQL needs psycopg: pip install 'minidl[sweep]'"
    else:
        return
    if given is not None:
        raise mistake(plan.config, Place(f"command line: --storage {given}"), message)
    raise _problem(plan.config, ("sweep", "storage"), message)


def trial_directory(sweep: Path, number: int) -> Path:
    """Return the run directory of a sweep's trial."""
    return sweep / f"trial-{number:04d}"


def checked_variants(
    config: Config, dimensions: Sequence[Dimension]
) -> list[tuple[Dimension, Node, Config]]:
    """Return the config with each value of each dimension once, the others being at their first.

    Raises
    ------
    ConfigError
        A config with one of them is none; with all that is wrong.
    """
    errors: list[ConfigError] = []
    passed: list[tuple[Dimension, Node, Config]] = []
    corners = list(_corners(dimensions))
    first = {d.path: (d.place, node) for d, node in reversed(corners)}
    for dimension, node in corners:
        try:
            variant = vary(config, first | {dimension.path: (dimension.place, node)})
            passed.append((dimension, node, variant))
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise together(config, errors)
    return passed


def _check_values(plan: Plan) -> None:
    """Try each value of each dimension once, and build the models of the first few."""
    passed = checked_variants(plan.config, plan.dimensions)
    errors: list[ConfigError] = []
    from minidl.train.build import build
    from minidl.train.publish import require_tracking

    require_tracking(plan.config)
    # What changes the model or the data first: a rate seldom makes a model impossible.
    shapes = ("model", "data", "task", "loss")
    passed.sort(key=lambda item: item[0].path.partition(".")[0] not in shapes)
    for dimension, node, variant in passed[:BUILT]:
        try:
            build(variant)
        except ConfigError as error:
            what = f"with `{dimension.path}` = {_written_out(node.plain())}: "
            errors += [
                mistake(plan.config, node.place, what + problem.message, problem.suggestion)
                for problem in error.problems
            ]
    if errors:
        raise together(plan.config, errors)


def _corners(dimensions: Sequence[Dimension]) -> Iterator[tuple[Dimension, Node]]:
    for dimension in dimensions:
        for node in dimension.nodes:
            if dimension.span is not None and not dimension.whole:
                node = Node(float(node.plain()), node.place)
            yield dimension, node


def _written_out(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _problem(
    config: Config, path: KeyPath, message: str, suggestion: str | None = None
) -> ConfigError:
    """Return an error at ``path``, or at the nearest thing around it that was written."""
    while path and written(config, path) is None:
        path = path[:-1]
    return config.problem(path, message, suggestion)
