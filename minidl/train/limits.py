"""A training cut short: to see whether it works at all, or whether a model can learn by heart."""

from __future__ import annotations

from dataclasses import dataclass, replace

from minidl.data import ArrayDataset
from minidl.train.config import Config


@dataclass(frozen=True)
class Limits:
    """How much of the data is used.

    Parameters
    ----------
    batches
        Only so many batches of each part.
    overfit
        Train on these same batches in each epoch, in the same order, and validate and test on
        them too: a model that cannot bring their loss down has a mistake in it.
    """

    batches: int
    overfit: bool = False

    def cut(
        self,
        train: ArrayDataset,
        val: ArrayDataset | None,
        test: ArrayDataset,
        batch_size: int,
    ) -> tuple[ArrayDataset, ArrayDataset | None, ArrayDataset]:
        """Return the first batches of each part; to overfit, those of the training three times."""
        train = self._first(train, batch_size)
        if self.overfit:
            return train, None if val is None else train, train
        return (
            train,
            None if val is None else self._first(val, batch_size),
            self._first(test, batch_size),
        )

    def _first(self, dataset: ArrayDataset, batch_size: int) -> ArrayDataset:
        count = self.batches * batch_size
        return replace(dataset, inputs=dataset.inputs[:count], targets=dataset.targets[:count])


def fast_dev_run(config: Config, run_root: str) -> Config:
    """Return a config for one short epoch that leaves nothing: no tracking, a passing directory."""
    trainer = config.trainer.model_copy(
        update={
            "epochs": 1,
            "max_steps": None,
            "max_time": None,
            "log_every": 1,
            "validate_every": (1, "epochs"),
            "checkpoint_every": (1, "epochs"),
            "run_root": run_root,
            "name": "fast-dev-run",
        }
    )
    return config.model_copy(update={"trainer": trainer, "tracking": None})
