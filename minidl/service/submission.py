"""What a submitted config may do: train, on data that the service was told to share.

A config from outside is checked as any other, and then held to more. It is one text: `include` is
refused, and ``${env:NAME}`` knows two names and nothing of the service's own environment. It names
files only in the data roots, links resolved. Where its run lies and is tracked is the service's
word, whatever the config says of it. What is refused is told with its line, as any mistake is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from minidl.sweep.dimensions import Dimension, read_dimensions
from minidl.sweep.plan import checked_variants
from minidl.train.config import Config, ConfigError, config_from_data, config_from_text
from minidl.train.config.nodes import KeyPath
from minidl.train.config.problems import Place, Problem, clip
from minidl.train.config.schema import Spec, plain
from minidl.train.config.variants import mistake, together
from minidl.train.config.yaml_scalars import dump_yaml

#: Texts among the arguments of classes that are no paths. All others are held to be paths.
NOT_PATHS = frozenset(
    [("CSV", "target"), ("CSV", "columns"), ("CSV", "delimiter"), ("NPZ", "classes")]
)
#: Values that a sweep may list in all: each is checked while the user waits.
MOST_VALUES = 200
#: What messages call a submitted config.
NAME = "config"

Kind = Literal["training", "sweep"]


@dataclass(frozen=True)
class SubmissionRules:
    """What configs may read, and where what they make is tracked.

    Attributes
    ----------
    data_roots : tuple of Path
        Directories whose files may be read; ``${env:MINIDL_DATA}`` is the first.
    forbidden : tuple of Path
        Directories whose files may not, wherever they lie: the service's own.
    mlflow_uri : str or None
        Where runs are tracked; None for nowhere.
    concurrency : int
        Trials that a sweep may run at a time, whatever its `jobs` says.
    most_ranks : int
        Ranks that a training may have.
    cores : int
        What all jobs together have.
    no_ranks : str or None
        Why no training can have more than one rank; None where it can.
    """

    data_roots: tuple[Path, ...] = ()
    forbidden: tuple[Path, ...] = ()
    mlflow_uri: str | None = None
    concurrency: int = 1
    most_ranks: int = 1
    cores: int = 1
    no_ranks: str | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What ``${env:NAME}`` knows."""
        known = {"MINIDL_DATA": str(self.data_roots[0])} if self.data_roots else {}
        return known | ({"MLFLOW_TRACKING_URI": self.mlflow_uri} if self.mlflow_uri else {})


@dataclass(frozen=True)
class Submission:
    """A config that may run here.

    ``text`` is what was submitted, as YAML; ``config`` the resolved config as plain data, whose
    paths are absolute, with its ``sweep`` where it is one.
    """

    kind: Kind
    text: str
    config: dict[str, Any]


def check_submission(
    given: str | bytes | Mapping[str, Any],
    rules: SubmissionRules,
    *,
    overrides: Sequence[str] = (),
) -> Submission:
    """Check a config from outside.

    Parameters
    ----------
    given
        YAML text, or plain data.
    overrides
        Changes to a text.

    Raises
    ------
    ConfigError
        With all that is wrong, or is not allowed here.
    """
    if isinstance(given, Mapping):
        config = config_from_data(given, environ=rules.environ)
        text = dump_yaml(dict(given))
    else:
        config = config_from_text(given, name=NAME, overrides=overrides, environ=rules.environ)
        text = config.source_text
    errors: list[ConfigError] = []
    resolved = _kept_within(config, rules, errors)
    sweep = config.sweep is not None and bool(config.sweep.parameters)
    if sweep:
        _check_sweep(config, rules, errors)
    if errors:
        raise together(config, errors)
    return Submission("sweep" if sweep else "training", text, resolved)


def check_ranks(ranks: int, kind: Kind, rules: SubmissionRules) -> None:
    """Check of how many ranks a job is to be.

    Raises
    ------
    ValueError
        It can never run here.
    """
    if ranks == 1:
        return
    if kind == "sweep":
        raise ValueError(
            f"ranks: {ranks}, but the trials of a sweep have one rank each; leave `ranks` out"
        )
    if rules.no_ranks is not None:
        raise ValueError(f"ranks: {ranks}, but the service can start one only: {rules.no_ranks}")
    if ranks > rules.most_ranks:
        cores = f"all jobs of this service together have {rules.cores} cores"
        if rules.most_ranks == rules.cores:
            most = "its option --max-ranks N lets more ranks share them"
        else:
            most = f"its option --max-ranks lets a job have {rules.most_ranks} ranks"
        raise ValueError(f"ranks: {ranks} would wait for ever: {cores}, and {most}")


def check_overrides(text: str, overrides: Sequence[str], rules: SubmissionRules) -> None:
    """Check changes to a config that was submitted before, with which its run is to go on.

    They are applied by the run itself, in another environment: so they are values as they stand,
    and change neither what is read nor where a run lies.

    Raises
    ------
    ConfigError
        With all that is wrong, or is not allowed here.
    """
    refused = [
        Problem.at(_spoken(override), "`${…}` has no meaning in an override here")
        for override in overrides
        if "${" in override
    ]
    if refused:
        raise ConfigError(refused)
    before = config_from_text(text, name=NAME, environ=rules.environ)
    after = config_from_text(text, name=NAME, overrides=overrides, environ=rules.environ)
    for override in overrides:
        path = override.lstrip("+~").partition("=")[0].strip()
        if path.partition(".")[0] in ("tracking", "sweep") or path in _OF_THE_SERVICE:
            refused.append(
                Problem.at(_spoken(override), f"`{clip(path)}` is nothing that a resume can change")
            )
    same = (
        dict(_paths(before)) == dict(_paths(after))
        and before.trainer.run_root == after.trainer.run_root
        and before.trainer.name == after.trainer.name
    )
    if not (refused or same):
        words = ", ".join(overrides)
        refused.append(
            Problem.at(_spoken(words), "a resume goes on with the same data, in the same place")
        )
    if refused:
        raise ConfigError(refused)


#: Beside `tracking` and `sweep`: where a run lies.
_OF_THE_SERVICE = ("trainer.run_root", "trainer.name")


def _spoken(override: str) -> Place:
    shown = override.encode("utf-8", "backslashreplace").decode()
    return Place(f"overrides: {clip(shown, 200)}")


def _kept_within(
    config: Config, rules: SubmissionRules, errors: list[ConfigError]
) -> dict[str, Any]:
    """Return a config as plain data, with the service's word on places; note what is refused."""
    data = config.resolved()
    for path, value in _paths(config):
        try:
            _put(data, path, str(_allowed(value, rules)))
        except ValueError as error:
            errors.append(config.problem(path, str(error)))
    data["trainer"] |= {"run_root": "runs", "name": None}
    if data["tracking"] is not None:
        if rules.mlflow_uri is None:
            data["tracking"] = None
        else:
            data["tracking"]["uri"] = rules.mlflow_uri
    if config.sweep is not None and config.sweep.parameters:
        jobs = min(config.sweep.jobs, rules.concurrency)
        data["sweep"] = plain(config.sweep) | {"storage": None, "study": None, "jobs": jobs}
    return data


def _check_sweep(config: Config, rules: SubmissionRules, errors: list[ConfigError]) -> None:
    """Note what a sweep's values would do that a config may not."""
    try:
        dimensions = read_dimensions(config, ())
        _check_size(config, dimensions)
        for dimension, node, variant in checked_variants(config, dimensions):
            if why := _strays(config, variant, rules):
                errors.append(mistake(config, node.place or dimension.place, why))
    except ConfigError as error:
        errors.append(error)


def _check_size(config: Config, dimensions: Sequence[Dimension]) -> None:
    values = sum(len(dimension.nodes) for dimension in dimensions)
    if values > MOST_VALUES:
        raise config.problem(
            ("sweep", "parameters"),
            f"a sweep lists at most {MOST_VALUES} values here, got {values}",
            "give a range, as {low: 1e-4, high: 1e-1, log: true}",
        )


def _strays(config: Config, variant: Config, rules: SubmissionRules) -> str | None:
    """Say what a variant reads or where it writes that its config may not."""
    own = (config.trainer.run_root, config.trainer.name)
    if (variant.trainer.run_root, variant.trainer.name) != own:
        return "where a run lies is nothing that a sweep can vary"
    if plain(variant.tracking) != plain(config.tracking):
        return "where a run is tracked is nothing that a sweep can vary"
    known = dict(_paths(config))
    for path, value in _paths(variant):
        if known.get(path) == value:
            continue  # told of already, at its own line
        if not Path(value).is_absolute():
            return f'in a sweep, a path begins at the root (`/`), got "{clip(value)}"'
        try:
            _allowed(value, rules)
        except ValueError as error:
            return str(error)
    return None


# ---- paths ---------------------------------------------------------------------------------------


def _paths(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield every path that objects of a config would open, with where it stands in it."""
    for name in Config.model_fields:
        yield from _paths_in(getattr(config, name), (name,))


def _paths_in(value: Any, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, Spec):
        for name, field in type(value).model_fields.items():
            child = getattr(value, name)
            if name not in Spec.not_arguments and is_path(value.type, name, field.annotation):
                yield from _texts_in(child, (*at, name))
            yield from _paths_in(child, (*at, name))
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _paths_in(child, (*at, index))
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _paths_in(child, (*at, key))


def _texts_in(value: Any, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _texts_in(child, (*at, index))
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _texts_in(child, (*at, key))


def is_path(cls: str, argument: str, hint: Any) -> bool:
    """Whether an argument of a registered class is a path: a text that is not known as none."""
    return holds_text(hint) and (cls, argument) not in NOT_PATHS


def holds_text(hint: Any) -> bool:
    """Whether values of a type may have any text in them; words of a `Literal` are none."""
    if hint is str or hint is Any:
        return True
    if get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, BaseModel)):
        return False
    return any(holds_text(part) for part in get_args(hint))


def _allowed(text: str, rules: SubmissionRules) -> Path:
    """Return the real path that a text means, if it lies in a data root.

    Raises
    ------
    ValueError
        It does not.
    """
    if not rules.data_roots:
        raise ValueError(
            "this service shares no files: it was started without --data-root; "
            "MNISTSample comes with minidl"
        )
    shown = clip(text, 100)
    candidates = [root / text for root in rules.data_roots]  # one and the same where absolute
    candidate = next(filter(os.path.lexists, candidates), candidates[0])
    with suppress(OSError, RuntimeError):  # links in a circle, a name that is too long
        real = candidate.resolve(strict=os.path.lexists(candidate))
        inside = any(real.is_relative_to(root.resolve()) for root in rules.data_roots)
        kept = any(real.is_relative_to(root.resolve()) for root in rules.forbidden)
        if inside and not kept:
            return real
    # Whether there is such a file elsewhere is nothing that a config may find out.
    raise ValueError(
        f'"{shown}" lies outside of the data that this service shares: a path is relative, or '
        "begins with ${env:MINIDL_DATA}"
    )


def _put(data: Any, path: KeyPath, value: str) -> None:
    *parents, last = path
    for part in parents:
        data = data[part]
    data[last] = value
