"""Traces, graphs, comparisons and drawings show what the engine really does."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.explaining import ExpressionError, compare, draw, explain, parse
from minidl.explaining.svg import boxes

FORMULA = "log(x1) + x1*x2 - sin(x2)"


def textbook() -> Any:
    """The example of Baydin et al. (2018), tables 2 and 3."""
    function, names = parse(FORMULA)
    return explain(function, 2.0, 5.0, names=names)


def test_the_trace_is_the_textbook_s() -> None:
    found = textbook()
    values = {step.operation: float(step.value) for step in found.steps}
    assert values["log"] == pytest.approx(0.693, abs=5e-4)
    assert values["mul"] == 10.0
    assert values["sin"] == pytest.approx(-0.959, abs=5e-4)
    assert float(found.output.value) == pytest.approx(11.652, abs=5e-4)
    tangents = {step.operation: float(step.tangent) for step in found.steps}
    assert (tangents["log"], tangents["mul"], tangents["sin"]) == (0.5, 5.0, 0.0)
    assert float(found.output.tangent) == pytest.approx(5.5)
    assert [float(g) for g in found.gradient] == pytest.approx([5.5, 1.716], abs=5e-4)


def test_adjoints_add_up_where_a_value_is_used_twice() -> None:
    found = textbook()
    shares = [s for step in found.steps for name, s in step.shares if name == "x1"]
    assert sorted(float(s) for s in shares) == [0.5, 5.0]
    text = str(found)
    assert text.index("x1* += 5") < text.index("x1* += 0.5")  # the walk goes backward


def test_the_seed_chooses_the_tangent() -> None:
    function, names = parse(FORMULA)
    found = explain(function, 2.0, 5.0, names=names, seed=1)
    assert float(found.output.tangent) == pytest.approx(float(found.gradient[1]))


def test_arrays_show_their_shapes() -> None:
    found = explain(lambda w, x: minidl.tanh(x @ w).sum(), np.ones((3, 2)), np.ones((4, 3)))
    assert "float64[4, 2]" in str(found)
    assert found.gradient[0].shape == (3, 2)


def test_what_cannot_be_explained() -> None:
    with pytest.raises(ValueError, match=r"single number is wanted, the function gave \(2,\)"):
        explain(lambda x: x * 2.0, np.ones(2))
    with pytest.raises(ValueError, match="does not depend on the inputs"):
        explain(lambda x: 3.0, 1.0)
    with pytest.raises(ValueError, match="1 arguments, 2 names"):
        explain(lambda x: x, 1.0, names=["x", "y"])


# ---- graphs ------------------------------------------------------------------------------------


def test_dot_names_every_node_and_edge() -> None:
    graph = textbook().graph
    dot = graph.dot()
    nodes = re.findall(r'^  "(\w+)" \[label="', dot, re.M)
    edges = re.findall(r'^  "(\w+)" -> "(\w+)"', dot, re.M)
    assert nodes == list(graph.nodes)
    assert edges == [(a, b) for a, b, _ in graph.edges]
    assert len(edges) == 8


def test_mermaid_and_text() -> None:
    graph = textbook().graph
    assert graph.mermaid().startswith("flowchart TB\n")
    assert graph.mermaid().count("-->") == len(graph.edges)
    assert len(graph.text().splitlines()) == len(graph.nodes)


def test_svg_is_well_formed_and_nothing_overlaps() -> None:
    for graph in (textbook().graph, draw(cnn(), minidl.zeros(2, 1, 28, 28)), draw(Residual(), X)):
        root = ET.fromstring(graph.svg())
        assert root.tag.endswith("svg")
        texts = ["".join(t.itertext()) for t in root.iter() if t.tag.endswith("text")]
        for node in graph.nodes.values():
            assert set(node.lines) <= set(texts)
        places = list(boxes(graph).values())
        for i, (x, y, w, h) in enumerate(places):
            for a, b, c, d in places[:i]:
                assert x + w <= a or a + c <= x or y + h <= b or b + d <= y


def test_text_is_escaped() -> None:
    graph = textbook().graph
    graph.node("<&>", ['a "quoted" <b>'])
    ET.fromstring(graph.svg())
    assert "<b>" not in graph.svg()


# ---- networks ----------------------------------------------------------------------------------

X = minidl.zeros(3, 4)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1176, 10)
    )


class Residual(nn.Module):
    def __init__(self) -> None:
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.second(minidl.tanh(self.first(x)) + x)


def test_layers_with_shapes_and_parameters() -> None:
    text = draw(cnn(), minidl.zeros(2, 1, 28, 28)).text()
    assert "0: Conv2d; 156 parameters  <- input [(2, 1, 28, 28)]" in text
    assert "4: Linear; 11,770 parameters  <- 3 [(2, 1176)]" in text
    assert text.endswith("output: output; (2, 10)  <- 4 [(2, 10)]")


def test_a_skip_connection_is_seen() -> None:
    graph = draw(Residual(), X)
    (add,) = [n.name for n in graph.nodes.values() if n.lines[0] == "add"]
    assert {a for a, b, _ in graph.edges if b == add} >= {"input"}
    assert len([1 for _, b, _ in graph.edges if b == add]) == 2


def test_drawing_leaves_the_model_as_it_was() -> None:
    model = cnn()
    before = model(minidl.ones(1, 1, 28, 28)).detach().numpy()
    draw(model, minidl.zeros(2, 1, 28, 28))
    after = model(minidl.ones(1, 1, 28, 28)).detach().numpy()
    np.testing.assert_array_equal(before, after)
    assert all(not any(m._hooks.kinds.values()) for m in model.modules() if hasattr(m, "_hooks"))


# ---- four ways ---------------------------------------------------------------------------------


def test_four_ways_agree() -> None:
    function, _ = parse("x**3 + 2*x")
    found = compare(function, [3.0], symbolic="x**3 + 2*x")
    values = {way.name: way.value for way in found.ways}
    assert values["forward mode"] == values["reverse mode"] == values["symbolic (sympy)"] == 29.0
    assert values["central differences"] == pytest.approx(29.0, rel=1e-8)
    assert found.agreement == 0.0
    errors = [error for _, error in found.steps]
    best = errors.index(min(errors))
    assert 2 < best < 9  # truncation on one side, rounding on the other
    assert errors[0] > 1e-3 < errors[-1]
    assert "3*x**2 + 2" in str(found)


@pytest.mark.parametrize(
    "formula",
    [
        "sigmoid(x)*relu(x)",
        "sqrt(x)/ln(x+2)",
        "max(x, 0.1)^2",
        "atan2(x, 2) + erf(x)",
        "log1p(exp2(x))",
        "hypot(x, 3) - log10(x)",
        "lgamma(x) + rsqrt(x)",
        "logaddexp(x, 1)",
        "cosh(x)*abs(x) - e**x",
    ],
)
def test_symbols_agree_for_every_kind_of_function(formula: str) -> None:
    function, _ = parse(formula)
    assert compare(function, [0.7], symbolic=formula).agreement < 1e-12


# ---- formulas ----------------------------------------------------------------------------------

GOOD = {
    "2 + 3*x": 8.0, "2*-x": -4.0, "-x**2": -4.0, "x**3**0.5": 2 ** (3**0.5), "x^2/4": 1.0,
    "(x - 1)*(x + 1)": 3.0, "1 - 2 - x": -3.0, "8/4/x": 1.0, ".5*x + 1e-1": 1.1, "2*pi*x/pi": 4.0,
    "+x": 2.0, "max(x, 3)": 3.0, "pow(x, 3)": 8.0, "x**-1": 0.5,
}  # fmt: skip
BAD = {
    "": "found the end", "x +": "found the end", "x y": "'y' does not belong here",
    "x $ 2": "'$' has no meaning here", "sin x": "sin is a function", "sni(x)": "did you mean sin",
    "f(x)": "f is no known function", "(x": "')' is wanted", "max(x)": "takes 2 arguments, got 1",
    "__import__('os')": "has no meaning",
    "exec(x)": "no known function",
    "x.y": "no meaning", "x if y": "does not belong",
    "lambda: x": "has no meaning", "(" * 80 + "x" + ")" * 80: "nested more than 60",
    "x" * 3000: "3000 characters",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), GOOD.items())
def test_formulas(text: str, value: float) -> None:
    function, _ = parse(text)
    assert float(function(2.0)) == pytest.approx(value)


@pytest.mark.parametrize(("text", "message"), BAD.items(), ids=range(len(BAD)))
def test_what_is_no_formula(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(message)):
        parse(text)


# ---- the command line --------------------------------------------------------------------------


def minidl_explain(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from minidl.cli import main; main()", "explain", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command(tmp_path: Any) -> None:
    done = minidl_explain("x**3 + 2*x", "x=3")
    assert done.returncode == 0
    assert "d/dx = 29" in done.stdout
    path = tmp_path / "graph.svg"
    assert (
        minidl_explain("x*y", "x=3", "y=2", "--graph", "svg", "--output", str(path)).returncode == 0
    )
    ET.parse(path)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("sin(", "x=1"), "found the end"),
        (("x*y", "x=1"), "the formula has x, y; given: x"),
        (("x", "x"), "NAME=NUMBER is wanted"),
        (("x", "x=1", "--wrt", "z"), "--wrt z: the formula has x"),
    ],
)
def test_mistakes_end_in_a_message(args: tuple[str, ...], message: str) -> None:
    done = minidl_explain(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# ---- the guide ---------------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent.parent


def test_every_number_of_the_guide_is_made_by_its_code() -> None:
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    guide = ROOT / "docs" / "from-differences-to-backpropagation.md"
    found = doctest.testfile(str(guide), module_relative=False, optionflags=options)
    assert found.attempted > 10
    assert found.failed == 0


def test_the_guide_s_figures_are_current(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_explain_docs.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=120)
    kept = ROOT / "docs" / "images" / "explain"
    for path in sorted(kept.iterdir()):
        assert (tmp_path / path.name).read_text() == path.read_text(), path.name
