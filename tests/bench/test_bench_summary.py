"""Statistics of the benchmark, refusals, what is chosen, and what the table says."""

from __future__ import annotations

import pytest
from harness import report, rounds, summary
from harness.rounds import Way
from peers.cases import CASES


def test_quartiles():
    assert summary.spread([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)
    assert summary.spread([7.0]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="no values"):
        summary.spread([])


def test_ratios_are_taken_round_by_round():
    # The machine was ten times slower in the second round, for both.
    assert summary.ratios([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([2.3, 2.2], None),
        ([2.302, 2.2], None),
        ([2.3, 2.203], "step 2: 2.203 where the reference has 2.2"),
        ([float("nan"), 2.2], "step 1: nan"),
        ([2.3], "1 results where the reference has 2"),
    ],
)
def test_disagreement(results, said):
    found = summary.disagreement(results, [2.3, 2.2])
    assert found is None if said is None else said in found


def test_large_values_agree_relatively():
    assert summary.disagreement([1000.5], [1000.0]) is None
    assert summary.disagreement([1002.0], [1000.0]) is not None


def about(*results: float) -> dict[str, object]:
    return {"results": list(results), "pilot": 1.0, "prepare": 0.0, "first": 1.0}


def test_other_results_are_refused_and_the_floor_is_not_compared():
    found = {
        "ways": {
            Way("minidl", "eager"): about(2.0, 1.0),
            Way("minidl", "floor"): about(0.0, 0.0),
            Way("torch", "fused"): about(2.0, 1.0),
            Way("jax", "jit"): about(2.0, 1.5),
        },
        "refused": {},
    }
    assert rounds.refuse(found) == "torch, fused"
    assert found["refused"] == {
        "jax, jit": "other results than torch, fused: step 2: 1.5 where the reference has 1"
    }
    assert Way("minidl", "floor") in found["ways"]
    assert Way("jax", "jit") not in found["ways"]


def test_chosen_ways():
    pilots = {
        Way("minidl", "eager"): 3.0,
        Way("minidl", "compiled"): 1.0,
        Way("minidl", "floor"): 0.5,
        Way("minidl-numpy", "floor"): 0.5,
        Way("torch", "fused"): 1.0,
        Way("torch", "eager"): 1.2,
        Way("torch", "compiled"): 1.6,
    }
    assert [str(way) for way in rounds.chosen(pilots)] == [
        "minidl, eager", "minidl, compiled", "minidl, floor", "torch, fused", "torch, eager",
    ]  # fmt: skip


def entry(system: str, variant: str, *values: float) -> dict[str, object]:
    spread = summary.spread(values)._asdict()
    return {"system": system, "variant": variant, "rounds": list(values), "pilot": 1.0, **spread}


def row(name: str, *entries: dict[str, object]) -> dict[str, object]:
    case = CASES[name]
    return {
        "title": case.title, "kind": case.kind, "goal": case.goal, "unit": "s",
        "entries": list(entries), "refused": {}, "cannot": {},
    }  # fmt: skip


def test_the_ratio_is_to_the_fastest_peer_in_its_fastest_way():
    made = row(
        "mlp-32",
        entry("minidl", "eager", 0.004, 0.004),
        entry("minidl", "compiled", 0.001, 0.001),
        entry("minidl", "floor", 0.0005, 0.0005),
        entry("minidl-numpy", "eager", 0.004, 0.004),
        entry("torch", "eager", 0.004, 0.004),
        entry("torch", "fused", 0.002, 0.002),
        entry("jax", "jit", 0.003, 0.003),
    )
    found = report.judged(made)
    assert found["ratio"] == (0.5, 0.5, 0.5)
    assert found["numpy_ratio"] == (2.0, 2.0, 2.0)
    assert (found["peer"]["system"], found["peer"]["variant"]) == ("torch", "fused")
    assert found["floor"] == 0.5
    assert found["verdict"] == "reached"
    (line,) = report.summary_table([made])[2:]
    assert line == (
        "| MLP 784-256-128-10, Adam, batch 32 | 1.00 ms (compiled) | 4.00 ms (eager) "
        "| torch: 2.00 ms (fused) | **0.50** (0.50–0.50) | 0.65 | reached | 0.50 |"
    )


def test_derivatives_are_half_of_pytorch_and_below_the_others():
    entries = [entry("minidl", "eager", 1e-5), entry("torch", "func", 4e-5)]
    assert report.judged(row("scalar", *entries))["verdict"] == "reached"
    beaten = row("scalar", *entries, entry("jax", "jit", 0.5e-5))
    found = report.judged(beaten)
    assert found["peer"]["system"] == "torch"
    assert found["verdict"] == "missed: jax faster"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(12.34, "12.3 s"), (1.5, "1.5 s"), (0.1234, "123 ms"), (0.0123, "12.3 ms"),
     (0.00123, "1.23 ms"), (0.000123, "123 µs"), (0.00000123, "1.23 µs")],
)  # fmt: skip
def test_times_are_written_with_three_digits(seconds, said):
    assert report.shown(seconds, "s") == said


def test_the_plot_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    made = row("mlp-32", entry("minidl", "eager", 1.0, 1.1), entry("torch", "fused", 2.0, 2.2))
    path = tmp_path / "ratios.svg"
    assert report.plot([made], path)
    assert path.read_text().count("<path") > 20
