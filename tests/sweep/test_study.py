"""Which worker is given which trial, and that none is given twice, or lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sweep_configs import MakePlan

from minidl.sweep import plan as plan_module
from minidl.sweep import study as study_module
from minidl.sweep.study import Claim, LostError, SweepStudy
from minidl.train.config import ConfigError

optuna = pytest.importorskip("optuna", reason="optuna is not installed (extra sweep)")
pytest_plugins = ["sweep_configs"]

RANDOM = "  sampler: {type: Random, seed: 3}\n"
LR = "  parameters: {optimizer.lr: {low: 1e-4, high: 1e-1, log: true}}\n"
GRID = "  parameters: {optimizer.lr: [0.1, 0.2, 0.3]}\n"

Open = Callable[..., SweepStudy]


@pytest.fixture
def opened(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a study, each time as another worker; no model is built for it."""
    monkeypatch.setattr(plan_module, "BUILT", 0)
    studies = []

    def open_study(section: str, *overrides: str, **more: Any) -> SweepStudy:
        studies.append(SweepStudy(plan(section, *overrides, **more)))
        return studies[-1]

    yield open_study
    for study in studies:
        study.close()


def slots(study: SweepStudy) -> list[int]:
    return [trial.user_attrs["slot"] for trial in study.trials()]


def values_of(study: SweepStudy) -> list[float]:
    return [trial.params["optimizer.lr"] for trial in study.trials()]


def finish(study: SweepStudy, claim: Claim | None) -> None:
    assert claim is not None
    study.complete(claim, claim.parameters["optimizer.lr"])  # type: ignore[arg-type]


def vanish(claim: Claim | None) -> Claim:
    """What is left of a claim when worker and training have been killed: its lock is free."""
    assert claim is not None
    claim.lock.release()
    return claim


def test_a_grid_is_given_out_once_and_in_order(opened: Open) -> None:
    study = opened(GRID)
    for expected in (0.1, 0.2, 0.3):
        claim = study.claim()
        assert claim is not None
        assert claim.parameters == {"optimizer.lr": expected}
        assert claim.directory == Path(f"runs/tiny/trial-000{claim.number}")
        finish(study, claim)
    assert study.claim() is None
    assert study.all_done()
    assert study.best() == (2, 0.3)


def test_two_workers_share_the_trials(opened: Open) -> None:
    one, other = opened(GRID), opened(GRID)
    claims = [one.claim(), other.claim(), one.claim()]
    assert other.claim() is None
    assert not other.all_done()
    for study, claim in zip((one, other, one), claims, strict=True):
        finish(study, claim)
    assert other.all_done()
    assert slots(one) == [0, 1, 2]


def test_a_trial_whose_worker_is_gone_is_taken_up_under_its_number(opened: Open) -> None:
    before = opened(GRID)
    finish(before, before.claim())
    lost = vanish(before.claim())
    after = opened(GRID)
    claim = after.claim()
    assert claim is not None
    assert (claim.number, claim.parameters, claim.again) == (1, lost.parameters, True)
    assert claim.directory == lost.directory.absolute()
    finish(after, claim)
    finish(after, after.claim())
    assert after.claim() is None
    assert slots(after) == [0, 1, 2]
    assert after.all_done()


def test_a_worker_that_was_only_slow_learns_that_its_trial_is_anothers(opened: Open) -> None:
    slow = opened(GRID)
    claim = vanish(slow.claim())
    quick = opened(GRID)
    theirs = quick.claim()
    assert slow.beat([claim]) == [claim]
    with pytest.raises(LostError):
        slow.complete(claim, 99.0)
    finish(quick, theirs)
    assert quick.best() == (0, 0.1)
    with pytest.raises(LostError):
        slow.report(claim, 1.0, 1)


def test_a_trial_that_was_released_can_be_taken_at_once(opened: Open) -> None:
    one, other = opened(GRID), opened(GRID)
    claim = one.claim()
    assert claim is not None
    one.release(claim)
    again = other.claim()
    assert again is not None
    assert (again.number, again.again) == (claim.number, True)


def test_another_machines_trial_is_taken_when_it_has_been_silent(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    far, near = opened(GRID, trials=1), opened(GRID, trials=1)
    far.worker["host"] = "elsewhere"
    claim = vanish(far.claim())
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    assert near.claim() is None  # seen for the first time
    clock[0] = study_module.STALE_SECONDS - 1
    assert far.beat([claim]) == []
    assert near.claim() is None  # it is alive
    clock[0] += study_module.STALE_SECONDS - 1
    assert near.claim() is None  # not yet silent for long enough
    clock[0] += 2
    taken = near.claim()
    assert taken is not None
    assert (taken.number, taken.again) == (0, True)
    assert far.beat([claim]) == [claim]


def test_a_worker_killed_while_it_takes_a_trial_loses_none(opened: Open) -> None:
    study = opened(RANDOM + LR, trials=2)
    study.study.ask()  # made, and its maker gone before it had a slot
    for _ in range(2):
        finish(study, study.claim())
    assert study.claim() is None
    assert slots(study) == [0, 1]
    assert len(study.study.trials) == 3


def test_random_values_depend_on_seed_and_slot_only(opened: Open) -> None:
    whole = opened(RANDOM + LR, trials=5, study="whole")
    for _ in range(5):
        finish(whole, whole.claim())
    assert len(set(values_of(whole))) == 5
    # Another worker for each trial, one of them killed, and one that takes two at a time.
    for number in range(3):
        worker = opened(RANDOM + LR, trials=5, study="torn")
        claim = worker.claim()
        if number == 1:
            vanish(claim)
        else:
            finish(worker, claim)
    worker = opened(RANDOM + LR, trials=5, study="torn")
    for claim in [worker.claim(), worker.claim(), worker.claim()]:
        if claim is not None:
            finish(worker, claim)
    assert worker.all_done()
    assert values_of(worker) == values_of(whole)


def test_more_trials_go_on_with_a_study(opened: Open) -> None:
    first = opened(RANDOM + LR, trials=1)
    finish(first, first.claim())
    assert first.claim() is None
    more = opened(RANDOM + LR, trials=2)
    assert not more.all_done()
    finish(more, more.claim())
    assert more.claim() is None
    assert slots(more) == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler", ["{type: TPE, seed: 1, n_startup_trials: 3}", "{type: CMAES, seed: 1}"]
)
def test_samplers_that_learn_get_better(opened: Open, sampler: str) -> None:
    space = """  parameters:
    optimizer.lr: {low: 0.0, high: 1.0}
    optimizer.weight_decay: {low: 0.0, high: 1.0}
"""
    study = opened(f"  sampler: {sampler}\n{space}", trials=24)
    for _ in range(24):
        claim = study.claim()
        assert claim is not None
        x, y = (float(value) for value in claim.parameters.values())  # type: ignore[arg-type]
        study.complete(claim, -((x - 0.3) ** 2) - (y - 0.6) ** 2)
    distances = [-trial.value for trial in study.trials()]
    assert sum(distances[-8:]) < sum(distances[:8]) / 2


@pytest.mark.parametrize(
    ("pruner", "ended"),
    [
        ("{type: SuccessiveHalving, reduction_factor: 2}", 1),
        ("{type: Hyperband, min_resource: 1, reduction_factor: 2}", None),
        ("{type: Median, n_startup_trials: 1}", 1),
    ],
)
def test_a_poor_trial_is_to_be_ended(opened: Open, pruner: str, ended: int | None) -> None:
    study = opened(f"  pruner: {pruner}\n" + GRID, "trainer.epochs=4")
    verdicts = {}
    for quality in (0.9, 0.5, 0.1):
        claim = study.claim()
        assert claim is not None
        verdicts[quality] = [study.report(claim, quality * n, n) for n in range(1, 5)]
        if True in verdicts[quality]:
            study.prune(claim)
        else:
            study.complete(claim, quality * 4)
    assert True not in verdicts[0.9]
    if ended is not None:
        assert verdicts[0.1].index(True) == ended - 1
        assert [t.state.name for t in study.trials()] == ["COMPLETE", "PRUNED", "PRUNED"]


def test_a_failed_trial_keeps_its_reason_and_its_slot(opened: Open) -> None:
    study = opened(GRID)
    claim = study.claim()
    assert claim is not None
    study.fail(claim, "the loss became nan")
    finish(study, study.claim())
    finish(study, study.claim())
    assert study.claim() is None
    assert study.all_done()
    assert study.trials()[0].user_attrs["reason"] == "the loss became nan"
    assert study.best() == (2, 0.3)


@pytest.mark.parametrize(
    ("section", "overrides", "message"),
    [
        (GRID, ["optimizer.weight_decay=0.5"], "`optimizer.weight_decay` was 0.01, is 0.5"),
        (GRID + "  metric: val/loss\n", [], "`metric` was"),
        (
            GRID.replace("0.3", "0.4"),
            [],
            "`parameters.optimizer.lr` was [0.1, 0.2, 0.3], is [0.1, 0.2, 0.4]",
        ),
    ],
)
def test_a_study_of_another_config_is_left_alone(
    opened: Open, section: str, overrides: list[str], message: str
) -> None:
    opened(GRID)
    with pytest.raises(ConfigError) as failed:
        opened(section, *overrides)
    assert message in str(failed.value)
    assert "--study NAME begins another one" in str(failed.value)


def test_where_things_lie_may_differ(opened: Open) -> None:
    opened(GRID, storage="sqlite:///shared.db")
    other = opened(GRID, "trainer.run_root=elsewhere", storage="sqlite:///shared.db")
    claim = other.claim()
    assert claim is not None
    assert claim.directory == Path("elsewhere/tiny/trial-0000")


def test_somebody_elses_study_is_left_alone(opened: Open, folder: Path) -> None:
    theirs = optuna.create_study(study_name="tiny", storage="sqlite:///theirs.db")
    theirs.add_trial(optuna.create_trial(value=1.0))
    theirs._storage._backend.engine.dispose()
    with pytest.raises(ConfigError, match="was not made by `minidl sweep`"):
        opened(GRID, "sweep.direction=minimize", storage="sqlite:///theirs.db")


def test_a_storage_that_cannot_be_reached(opened: Open) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra sweep)")
    with pytest.raises(ConfigError) as failed:
        opened(GRID, storage="postgresql://me:secret@127.0.0.1:1/none")
    assert "the study's storage cannot be used" in str(failed.value)
    assert "secret" not in str(failed.value)


def claim_all(config: Path, storage: str, *, workers: int, trials: int) -> list[Any]:
    """Let several processes take trials from one study, as fast as they can."""
    program = Path(__file__).with_name("claim_all.py")
    command = [sys.executable, str(program), str(config), storage, str(trials)]
    running = [
        subprocess.Popen(command, cwd=config.parent, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    try:
        outputs = [process.communicate(timeout=300)[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert [process.returncode for process in running] == [0] * workers
    return [given for output in outputs for given in json.loads(output)]


def each_was_given_once(given: list[Any], trials: int) -> None:
    assert Counter(slot for _, slot, _ in given) == Counter(range(trials))
    assert Counter(number for number, _, _ in given) == Counter(range(trials))
    assert len({json.dumps(parameters) for _, _, parameters in given}) == trials


@pytest.mark.slow
def test_processes_at_once_on_sqlite(plan: MakePlan, folder: Path) -> None:
    plan(RANDOM + LR)  # writes the config
    given = claim_all(folder / "tiny.yaml", "sqlite:///shared.db", workers=3, trials=15)
    each_was_given_once(given, 15)


@pytest.mark.slow
def test_processes_at_once_on_postgresql(plan: MakePlan, folder: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra sweep)")
    from mlflow_stores import postgresql

    plan(RANDOM + LR)
    with postgresql() as server:
        given = claim_all(folder / "tiny.yaml", server.uri, workers=3, trials=15)
    each_was_given_once(given, 15)
