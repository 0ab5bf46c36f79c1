"""A dataset in its parts: what is trained on, held back for validation, and kept for the test."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from minidl.data import ArrayDataset, DataLoader, split
from minidl.data.augment import Compose
from minidl.distributed import World
from minidl.train.config import Config
from minidl.train.config.schema import registry
from minidl.train.limits import Limits

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
    mean: Any
    std: Any


def build_data(
    config: Config,
    *,
    normalize: bool = True,
    limits: Limits | None = None,
    world: World | None = None,
) -> Data:
    """Read the dataset and cut it into batches.

    The validation part is drawn from the training samples, stratified, by the config's seed.
    Without ``normalize`` inputs stay between 0 and 1. Of several ranks each has its share of every
    batch.

    Raises
    ------
    ConfigError
        The dataset cannot be read, or leaves no batch; placed at the config's line.
    """
    spec, world = config.data, world or World()
    path: Path = ("data", "root") if "root" in spec.arguments() else ("data",)
    try:
        dataset = registry()["data"][spec.type](**spec.arguments())
        mean, std = (dataset.mean, dataset.std) if normalize else (None, None)
        path = ("data", "val_fraction")
        rest, held_out = _held_out(dataset.train, spec.val_fraction, config.seed)
        test = dataset.test
        if limits is not None:
            rest, held_out, test = limits.cut(rest, held_out, test, spec.batch_size)

        def loader(part: ArrayDataset, size: int, **how: Any) -> DataLoader:
            how |= {"rank": world.rank, "world": world.size}
            return DataLoader(part, size, mean=mean, std=std, **how)

        path = ("data", "batch_size")
        train = loader(
            rest,
            spec.batch_size,
            shuffle=limits is None or not limits.overfit,
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
            test=loader(test, large),
            sample_shape=dataset.sample_shape,
            classes=dataset.classes,
            mean=mean,
            std=std,
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
            arguments["num_classes"] = arguments.get("num_classes") or num_classes
        try:
            made.append(cls(**arguments))
        except (ValueError, TypeError) as error:
            raise config.problem(("data", "augment", i), str(error)) from error
    return Compose(made) if made else None


def _held_out(
    dataset: ArrayDataset, fraction: float, seed: int
) -> tuple[ArrayDataset, ArrayDataset | None]:
    """Take the validation samples out of the training samples."""
    if not fraction:
        return dataset, None
    rest, held_out = split(dataset, fraction=fraction, seed=seed)
    if not (len(rest) and len(held_out)):
        raise ValueError(
            f"{fraction} of {len(dataset):,} samples leaves {len(rest):,} for training and "
            f"{len(held_out):,} for validation; both want some"
        )
    return rest, held_out
