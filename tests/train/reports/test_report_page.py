"""The report of a run: one file, with all there is, and no more than there is."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import MakeRun
from PIL import Image
from reported_runs import EVIL, GIVEN_BACK, train

from minidl.train.evaluation import evaluate_run
from minidl.train.metrics import Reliability
from minidl.train.reports.page.charts import Series, gathered, line_chart, reliability_chart
from minidl.train.reports.page.examine import examine
from minidl.train.reports.page.gather import _confusion
from minidl.train.reports.page.scales import scale_of
from minidl.train.reports.page.write import ReportError, write_report
from minidl.train.reports.records import RunNotFoundError

pytest_plugins = ["made_runs", "reported_runs"]


class Page(HTMLParser):
    """A page as its reader meets it: elements, and text; unclosed elements are refused."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.source = text
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.words))


def report(run: Path, folder: Path, **how: Any) -> Page:
    output = folder / "report.html"
    write_report(run, output, **how)
    return Page(output.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report(digits, tmp_path_factory.mktemp("page"))


# ---- what is in it ------------------------------------------------------------------------------


def test_the_parts_of_the_report(page: Page) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", page.source)
    assert headings == ["Curves", "Test samples", "Config", "System", "Do it again"]
    anchors = {str(link["href"]).removeprefix("#") for link in page.all("a")}
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {"curves", "test", "config", "system", "again"} <= anchors <= ids
    for part in ("digits", "finished", "12 steps, 2 epochs", "12,730", "AdamW(lr=0.01)"):
        assert part in page.text, part


def test_the_figures_are_those_of_the_run(page: Page, digits: Path) -> None:
    found, _ = evaluate_run(digits)
    assert found.confusion is not None
    accuracy = found.metrics["test/accuracy"]
    assert f"{100 * accuracy:.2f} %" in page.text
    right = int(np.trace(found.confusion))
    assert f"{right:,} of 1,000 test samples are on the diagonal" in page.text
    cells = re.findall(r'<td class="(?:hit|miss|none)".*?>([\d,]+)</td>', page.source)
    assert np.array(cells, int).reshape(10, 10).tolist() == found.confusion.tolist()


def test_the_worst_mistakes_are_pictures_of_the_samples(page: Page, digits: Path) -> None:
    _, experiment = evaluate_run(digits)
    inputs = experiment.data.test.dataset.inputs
    images = page.all("img")
    assert len(images) == 24
    for image in images:
        number, truth, guess = re.findall(r"\d+", str(image["alt"]))
        assert truth != guess
        png = base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,"))
        pixels = np.asarray(Image.open(io.BytesIO(png)))
        assert np.array_equal(pixels, inputs[int(number), 0])
    found = examine(digits)
    losses = [mistake.loss for mistake in found.mistakes]
    assert losses == sorted(losses, reverse=True)


def test_nothing_is_fetched(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    assert "@import" not in page.source
    assert "url(" not in page.source


def test_it_says_what_its_drawings_show(page: Page) -> None:
    drawings = [a for a in page.all("svg") if a.get("role") == "img"]
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert len(drawings) >= 5
    for drawing in drawings:
        assert set(str(drawing["aria-labelledby"]).split()) <= ids
    assert "train/loss from" in page.text
    assert all(image.get("alt") for image in page.all("img"))
    assert page.all("html") == [{"lang": "en"}]


def test_charts_hold_what_a_pointer_reads(page: Page) -> None:
    charts = [json.loads(str(a["data-curves"])) for a in page.all("figure") if "data-curves" in a]
    loss = charts[0]
    assert [curve["label"] for curve in loss] == ["train/loss", "val/loss"]
    assert loss[0]["steps"] == list(range(1, 13))
    assert loss[1]["steps"] == [6, 12]
    assert all(len(c["x"]) == len(c["texts"]) == len(c["steps"]) for c in loss)


# ---- names are text -----------------------------------------------------------------------------


def test_names_of_classes_are_text_and_nothing_else(evil: Path, tmp_path: Path) -> None:
    page = report(evil, tmp_path)
    assert len(page.all("script")) == 1  # the page's own
    assert len(page.all("title")) == 1 + len(re.findall("<title id=|<title>sure", page.source))
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    for name in EVIL:
        assert page.words.count(name) >= 3
    alts = [str(image["alt"]) for image in page.all("img")]
    assert alts
    assert any(EVIL[0] in alt for alt in alts)


@pytest.mark.parametrize(
    ("uri", "link"),
    [
        ("https://me:secret@mlflow.example/x", True),
        ("javascript:alert(1)", False),
        ("sqlite:///mlflow.db", False),
    ],
)
def test_the_way_to_mlflow(make_run: MakeRun, tmp_path: Path, uri: str, link: bool) -> None:
    run = make_run("tracked", "+tracking.uri='http://old:secret@example/'")
    for name in ("config.yaml", "config.source.yaml"):
        text = (run / name).read_text().replace("http://old:secret@example/", uri)
        (run / name).write_text(text)
    (run / "tracking.json").write_text('{"run_id": "abc", "experiment_id": "3"}')
    page = report(run, tmp_path)
    links = [a["href"] for a in page.all("a") if not str(a["href"]).startswith("#")]
    assert links == (["https://me:***@mlflow.example/x/#/experiments/3/runs/abc"] if link else [])
    assert "secret" not in page.source
    assert "abc" in page.text


# ---- where something is not there ---------------------------------------------------------------


def test_without_the_data_the_report_says_so(evil: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(evil, run)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("evil.npz", "gone.npz"))
    page = report(run, tmp_path)
    assert "could not be evaluated" in page.text
    assert "gone.npz" in page.text
    assert not page.all("img")
    there = str(evil.parents[1] / "evil.npz")
    assert report(run, tmp_path, overrides=[f"data.path={there}"]).all("img")


@pytest.mark.parametrize(
    "damage",
    ["config.yaml", "metrics.jsonl", "summary.json", "config.source.yaml", "model"],
)
def test_what_is_left_of_a_damaged_run(digits: Path, tmp_path: Path, damage: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits, run)
    if (run / damage).is_dir():
        shutil.rmtree(run / damage)
    else:
        (run / damage).write_bytes(b"{]\xff")
    page = report(run, tmp_path)
    assert "Config" in page.text
    assert ("Curves" in page.text) == (damage != "metrics.jsonl")
    if damage in ("config.yaml", "model"):
        assert "could not be evaluated" in page.text


def test_a_run_in_its_beginning(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("young", status=None)
    (run / "metrics.jsonl").unlink()
    page = report(run, tmp_path)
    assert "unfinished" in page.text
    assert "could not be evaluated" in page.text


def test_where_it_took_place(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("recorded", "trainer.epochs=4")
    (run / "run.json").unlink()
    assert "has not recorded where" in report(run, tmp_path).text
    tags = {
        "cpus": "2",
        "blas.threads": "1",
        "kernels": "numpy",
        "numpy.version": "2.4.6",
        "git.commit": "abc123+changes",
    }
    (run / "run.json").write_text(json.dumps({"created": 1.7e9, "environment": tags}))
    page = report(run, tmp_path)
    for part in ("BLAS threads 1", "NumPy 2.4.6", "git commit abc123+changes", "2023-11-14"):
        assert part in page.text
    commands = page.source[page.source.index("Do it again</h2>") :]
    assert "git checkout abc123    # its files had changes" in commands
    assert "OPENBLAS_NUM_THREADS=1 MINIDL_KERNELS=numpy minidl train" in commands
    assert "config.yaml trainer.name=null" in commands
    assert "trainer.epochs=4" in page.text  # the change on the command line


def test_a_task_without_classes(tmp_path: Path) -> None:
    run = train(tmp_path, "given_back", GIVEN_BACK, drawn=True)
    page = report(run, tmp_path)
    assert "Confusion matrix" not in page.text
    assert "Worst mistakes" not in page.text
    assert [image["alt"] for image in page.all("img")] == ["reconstructions, as the run drew them"]
    assert "Pictures" in page.text


def test_paths_and_places_that_cannot_be(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="there is no such directory"):
        write_report(tmp_path / "nothing", tmp_path / "x.html")
    with pytest.raises(RunNotFoundError, match="there is no such directory"):
        write_report(digits, tmp_path / "x.html", compared=[tmp_path / "nothing"])
    with pytest.raises(ReportError, match="the report cannot be written"):
        write_report(digits, tmp_path / "no" / "x.html")


# ---- beside others ------------------------------------------------------------------------------


def test_beside_another_run(digits: Path, make_run: MakeRun, tmp_path: Path) -> None:
    other = make_run("other", "optimizer.lr=0.5", accuracy=0.625)
    page = report(digits, tmp_path, compared=[other])
    assert "Comparison" in page.text
    table = page.text[page.text.index("Comparison") :]
    assert "optimizer.lr 0.01 0.5" in table
    assert "62.50 %" in table
    labels = [c["label"] for c in json.loads(str(page.all("figure")[0]["data-curves"]))]
    assert labels == [
        *("train/loss, digits", "val/loss, digits"),
        *("train/loss, other", "val/loss, other"),
    ]


# ---- drawings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0.5, 0.5], [0.46, 0.48, 0.5, 0.52, 0.54]),
        ([-3.0, 5.0], [-2.0, 0.0, 2.0, 4.0]),
        ([0.001, 10.0], [0.001, 0.01, 0.1, 1.0, 10.0]),
        ([1000.0, 90_000.0], [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0]),
        ([float("nan")], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
    ids=str,
)
def test_scales(values: list[float], ticks: list[float]) -> None:
    scale = scale_of(values, 0.0, 100.0)
    assert scale.ticks() == pytest.approx(ticks)
    assert all(-1e-9 <= scale(tick) <= 100 + 1e-9 for tick in scale.ticks())


def test_long_curves_are_drawn_as_means_within_their_range() -> None:
    steps = list(range(1, 10_001))
    values = [float(step % 2) for step in steps]
    points = gathered(steps, values, 100)
    assert len(points) == 100
    assert {(p.mean, p.low, p.high) for p in points} == {(0.5, 0.0, 1.0)}
    chart = line_chart("x", [Series("x", "x", steps, values)], end=10_000)
    assert len(chart.bands) == 1
    places = [float(v) for pair in chart.bands[0]["points"].split() for v in pair.split(",")]
    assert max(places[1::2]) <= chart.bottom  # what is beyond the scale is held at its end
    assert min(places[1::2]) >= chart.top


def test_a_curve_with_what_is_no_number() -> None:
    series = Series("loss", "train/loss", [1, 2, 3], [1.0, float("nan"), float("inf")])
    chart = line_chart("loss", [series], end=3)
    assert "nan" not in chart.lines[0]["points"]
    nothing = Series("loss", "train/loss", [1], [float("nan")])
    assert "no finite value" in line_chart("loss", [nothing], end=3).words


def test_bins_without_samples_are_not_drawn() -> None:
    found = Reliability(
        np.array([0.0, 0.5, 1.0]), np.array([0, 4]), np.array([0, 0.75]), np.array([0, 0.5])
    )
    (bar,) = reliability_chart(found).bands
    assert bar["words"] == "sure 50 to 100 %: 4 samples, on average 75.0 % sure and 50.0 % right"


def test_a_matrix_of_many_classes_is_told_by_its_pairs(digits: Path) -> None:
    found = examine(digits)
    counts = np.diag(np.full(40, 10))
    counts[3, 7] = 5
    classes = tuple(f"c{i}" for i in range(40))
    many = type(found)(**{**vars(found), "confusion": counts, "classes": classes})
    confusion = _confusion(many)
    assert confusion is not None
    assert confusion.rows == []
    assert confusion.pairs == [("c3", "c7", 5)]
    assert len(confusion.table) == 40
