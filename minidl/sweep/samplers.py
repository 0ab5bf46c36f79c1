"""Optuna's samplers and pruners, as the config's ``sweep`` section names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.sweep.plan import Plan
from minidl.train.config.sections import CMAES, TPE, Hyperband, Median, SuccessiveHalving

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def sampler(plan: Plan, slot: int) -> BaseSampler:
    """Return the sampler for the trial of one slot, with a seed of its own.

    A grid's values are given, so it needs none: any will do.
    """
    from optuna.samplers import CmaEsSampler, RandomSampler, TPESampler

    wanted: Any = plan.sampler
    seed = int(np.random.SeedSequence([getattr(wanted, "seed", 0), slot]).generate_state(1)[0])
    if isinstance(wanted, TPE):
        return TPESampler(
            seed=seed, n_startup_trials=wanted.n_startup_trials, multivariate=wanted.multivariate
        )
    if isinstance(wanted, CMAES):
        return CmaEsSampler(
            seed=seed,
            n_startup_trials=wanted.n_startup_trials,
            popsize=wanted.popsize,
            warn_independent_sampling=False,
        )
    return RandomSampler(seed=seed)


def pruner(plan: Plan) -> BasePruner:
    """Return what ends poor trials early; a resource is a validation."""
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

    wanted = plan.section.pruner
    if isinstance(wanted, Median):
        return MedianPruner(
            n_startup_trials=wanted.n_startup_trials, n_warmup_steps=wanted.n_warmup_steps
        )
    if isinstance(wanted, SuccessiveHalving):
        return SuccessiveHalvingPruner(
            min_resource=wanted.min_resource,
            reduction_factor=wanted.reduction_factor,
            min_early_stopping_rate=wanted.min_early_stopping_rate,
        )
    if isinstance(wanted, Hyperband):
        return HyperbandPruner(
            min_resource=wanted.min_resource,
            max_resource=wanted.max_resource or plan.most_epochs(),
            reduction_factor=wanted.reduction_factor,
        )
    return NopPruner()
