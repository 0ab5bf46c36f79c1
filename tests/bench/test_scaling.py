"""`scripts/bench/scaling.py`: its numbers, its tables, and what docs/scaling.md shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from harness.systems import CHECKOUT, SCRIPTS
from ranks import fitted, report
from ranks.fitted import ONE_HOST, UNLIMITED

from minidl.distributed.cost_model import (
    Bucket,
    Cluster,
    Link,
    Work,
    allreduce_seconds,
    predict,
    sum_seconds,
)

PAGE = CHECKOUT / "docs" / "scaling.md"

WORK = {
    "mlp": Work(fixed=1e-4, per_sample=1e-5, update=2e-4, buckets=(Bucket(9.4e5, 1.0),)),
    "cnn": Work(
        fixed=1e-3, per_sample=5e-4, update=5e-4, buckets=(Bucket(1.6e6, 0.5), Bucket(8e4, 1.0))
    ),
}
LINKS = {
    ONE_HOST: Link(latency=1e-6, bandwidth=8e9),
    UNLIMITED: Link(latency=3e-5, bandwidth=1e9),
    "two hosts, 1 Gbit/s": Link(latency=4e-5, bandwidth=1.2e8),
    "two hosts, 200 Mbit/s, 1 ms": Link(latency=1.2e-3, bandwidth=2.4e7),
}
ADDING, SLOWDOWN = 2e9, 1.25


def where(network: str, ranks: int) -> Cluster:
    inside = Link(latency=1e-6, bandwidth=8e9, handling=8e9)
    link = LINKS[network]
    between = Link(latency=link.latency, bandwidth=link.bandwidth, handling=1e9)
    one = network == ONE_HOST
    return Cluster(
        hosts=1 if one else 2, ranks_per_host=ranks if one else ranks // 2, inside=inside,
        between=None if one else between, adding=ADDING, slowdown=SLOWDOWN * ranks / 2,
    )  # fmt: skip


def step_row(case: str, network: str, ranks: int, batch: int, overlap: bool) -> dict[str, Any]:
    at, work = where(network, ranks), WORK[case]
    passes = work.passes(batch) * at.slowdown
    row = {
        "case": case,
        "batch": batch,
        "overlap": overlap,
        "step": predict(work, batch, at, overlap=overlap).step,
        "waited": sum(sum_seconds(bucket.nbytes, at) for bucket in work.buckets),
        "messages": [
            {"bytes": b.nbytes, "started": b.ready * passes, "done": 1.0} for b in work.buckets
        ],
    }
    return row if network == ONE_HOST else row | {"cable": work.nbytes}


@pytest.fixture
def made() -> dict[str, Any]:
    """Results of a machine that does what the model says."""
    sizes = [8, 4096, 1 << 20]
    part = [
        {"case": case, "batch": b, "passes": work.passes(b), "update": work.update}
        for case, work in WORK.items()
        for b in (128, 64, 32, 8)
    ]
    return {
        "machine": "a made-up machine",
        "command": "python scripts/bench/scaling.py",
        "batch": 128,
        "cores": 2,
        "missing": {},
        "alone": part,
        "beside": [
            row | {"passes": SLOWDOWN * row["passes"]} for row in part if row["batch"] == 64
        ],
        "networks": {
            name: {
                "probe": {
                    "adding": ADDING,
                    "exchanges": [{"bytes": n, "seconds": link.seconds(n)} for n in sizes],
                    "sums": [
                        {"bytes": n, "seconds": allreduce_seconds(n, 2, link, adding=ADDING)}
                        for n in sizes
                    ],
                },
                "steps": {
                    str(ranks): [
                        step_row(case, name, ranks, batch, overlap)
                        for case in WORK
                        for batch in (128 // ranks, 128)
                        for overlap in (True, False)
                    ]
                    for ranks in (2, 4)
                },
            }
            for name, link in LINKS.items()
        },
    }


def test_what_the_model_made_is_found_again(made):
    for name, link in LINKS.items():
        found = fitted.link(made, name)
        assert found.latency == pytest.approx(link.latency, rel=1e-6)
        assert found.bandwidth == pytest.approx(link.bandwidth, rel=1e-6)
    assert fitted.link(made, "two hosts, 1 Gbit/s").busy == pytest.approx(0.12, rel=1e-6)
    for case, work in WORK.items():
        found = fitted.work(made, case)
        assert found.fixed == pytest.approx(work.fixed, rel=1e-6)
        assert found.per_sample == pytest.approx(work.per_sample, rel=1e-6)
        assert [b.ready for b in found.buckets] == pytest.approx([b.ready for b in work.buckets])
    checked = fitted.checked(made)
    assert len(checked) == 4 * 2 * 8
    assert max(abs(each.error) for each in checked) < 1e-6


def test_an_error_is_told_with_its_sign(made):
    rows = made["networks"]["two hosts, 1 Gbit/s"]["steps"]["4"]
    for row in rows:
        row["step"] /= 2
    table = report.steps_table(made, "two hosts, 1 Gbit/s").splitlines()
    assert len(table) == 2 + 8
    assert sum(line.count("+100 %") for line in table) == 8  # both ways, on four ranks
    last = report.errors_table(made).splitlines()[-1]
    assert last.startswith("| 4 | on | 16 |")
    assert last.endswith("| +100 % |")


def test_the_page_has_a_place_for_every_table(made, tmp_path):
    page = tmp_path / "scaling.md"
    page.write_text(PAGE.read_text())
    tables = report.tables(made)
    report.renew(page, tables)
    once = page.read_text()
    assert all(table in once for table in tables.values())
    report.renew(page, tables)
    assert page.read_text() == once
    del tables["Networks"]
    with pytest.raises(ValueError, match=r"places and tables differ: \['Networks'\]"):
        report.renew(page, tables)


def test_networks_that_were_not_measured_are_named(made):
    made["networks"] = {ONE_HOST: made["networks"][ONE_HOST]}
    made["missing"] = {UNLIMITED: "network namespaces want root"}
    tables = report.tables(made)
    assert "not measured: network namespaces want root" in tables["Networks"]
    assert list(report.links(made)) == list(fitted.ASSUMED)


def test_the_drawing(made, tmp_path):
    pytest.importorskip("matplotlib")
    assert report.plot(made, tmp_path / "images" / "scaling.png")
    assert (tmp_path / "images" / "scaling.png").read_bytes()[:4] == b"\x89PNG"


def test_the_pages_python_prints_what_the_page_shows():
    found = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    done = subprocess.run(
        [sys.executable, "-c", found[1]], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert done.stdout == found[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "scaling.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.slow
def test_one_host_is_measured_and_predicted(tmp_path):
    pytest.importorskip("mpi4py", reason="the extra mpi is not installed")
    done = run("--one-host", "--cases", "mlp", "--ranks", "2", "--seconds", "0.02",
               "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    (steps,) = (about["steps"] for about in results["networks"].values())
    assert set(steps) == {"2"}
    for rows in steps.values():
        assert len(rows) == 4
        for row in rows:
            # All 235,146 parameters in float32, and which of the six has a gradient.
            assert sum(sent["bytes"] for sent in row["messages"]) == 4 * 235_146 + 6 * 8
            assert row["step"] > 0
    assert "two hosts, 1 Gbit/s" in results["missing"]
    said = (tmp_path / "results.md").read_text()
    assert "## Weak scaling, predicted: mlp" in said
    assert all(table in said for table in report.tables(results).values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cases", "mlp,rnn"], "['rnn'] not among mlp, cnn"),
        (["--ranks", "2,3"], "--ranks: even numbers from 2 to 128, not 2,3"),
        (["--seconds", "0"], "--seconds: more than 0, not 0"),
    ],
)
def test_bad_arguments(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
