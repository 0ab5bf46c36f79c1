"""YAML 1.2 as minidl reads it: scalars, places, limits, and errors with their place."""

import math
import os
from pathlib import Path

import pytest
import yaml

from minidl.train.config.include import read_config
from minidl.train.config.nodes import Source
from minidl.train.config.problems import ConfigError
from minidl.train.config.yaml_scalars import dump_yaml
from minidl.train.config.yaml_source import (
    MAX_BYTES,
    MAX_DEPTH,
    _Composer,
    _FastComposer,
    parse,
)


def read(text: str, **environ: str) -> object:
    source = parse(text, name="c.yaml", environ=environ)
    assert source.root.faults() == []
    assert source.problems == []
    return source.root.plain()


def problems(text: str, **environ: str) -> list[tuple[int | None, int | None, str, str | None]]:
    try:
        source = parse(text, name="c.yaml", environ=environ)
        found = source.problems + source.root.faults()
    except ConfigError as error:
        found = error.problems
    return [(p.line, p.column, p.message, p.suggestion) for p in found]


SCALARS = [
    ("1e-3", 1e-3), ("1E3", 1000.0), ("+1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("-0.0", -0.0),
    ("6.02e+23", 6.02e23), (".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf),
    ("0", 0), ("-12", -12), ("+12", 12), ("010", 10), ("0o10", 8), ("0x1F", 31), ("0xff", 255),
    ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63)),
    ("true", True), ("True", True), ("TRUE", True), ("false", False), ("FALSE", False),
    ("null", None), ("Null", None), ("NULL", None), ("~", None), ("", None),
    ("no", "no"), ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("nUll", "nUll"),
    ("tRue", "tRue"), ("12:30:45", "12:30:45"), ("2024-01-31", "2024-01-31"), ("1_000", "1_000"),
    ("0b11", "0b11"), ("-0x1F", "-0x1F"), ("0o8", "0o8"), ("1e", "1e"), (".", "."), ("inf", "inf"),
    ("nan", "nan"), ("=", "="), ("<<", "<<"), ("१", "१"), ("1.2.3", "1.2.3"),
    ("'1e-3'", "1e-3"), ('"no"', "no"), ('"\\u00e9"', "é"), ("! 12", "12"),
    ("!!str 12", "12"), ("!!int '12'", 12), ("!!float 3", 3.0), ("!!bool 'true'", True),
    ("!!null ''", None), ("|\n  two\n  lines", "two\nlines\n"), ("!!seq [1]", [1]),
    ("!!map {a: 1}", {"a": 1}), ("{a: [1, {b: ~}]}", {"a": [1, {"b": None}]}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = read(f"key: {text}\n")["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_nan(text: str) -> None:
    assert math.isnan(read(f"key: {text}")["key"])


@pytest.mark.parametrize("value", [value for _, value in SCALARS])
def test_what_is_dumped_reads_back(value: object) -> None:
    assert read(dump_yaml({"key": value, "list": [value]})) == {"key": value, "list": [value]}


@pytest.mark.parametrize(
    "text",
    ["1e-3", "0o10", "12:30:45", "~", "true", " x ", "a: b", "# no", "é\n\x85", "- a", "010"],
)
def test_text_stays_text_through_a_dump(text: str) -> None:
    assert read(dump_yaml({"key": text})) == {"key": text}


def test_keys_and_values_have_places() -> None:
    source = parse("a: 1\nb:\n  - {c: x}\n  - &n [2]\nd: *n\n", name="f", environ={})
    node = source.trail(("b", 0, "c"))[-1]
    assert (str(node.key), str(node.place)) == ("f:3:6", "f:3:9")
    assert str(source.trail(("b",))[-1].key) == "f:2:1"
    assert str(source.trail(("b", 1, 0))[-1].place) == "f:4:9"
    assert str(source.trail(("d", 0))[-1].place) == "f:4:9", "an alias points at what it repeats"
    assert len(source.trail(("b", 7, "c"))) == 2


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    source = read_config(path)
    assert source.root.plain() == {"a": 1, "b": 2}
    assert source.trail(("b",))[-1].place.line == 2


ENVIRONMENT = [
    ("${env:N}", {"N": "7"}, 7), ("${env:N,3}", {}, 3), ("${env:N,1e-3}", {}, 1e-3),
    ('"${env:N,3}"', {}, "3"), ("'${env:N}'", {"N": "true"}, "true"), ("${env:N,}", {}, None),
    ("${env:N,no}", {}, "no"), ("a${env:N,1}", {}, "a1"),
    ("${env:A}/${env:B,x}", {"A": "r"}, "r/x"),
    ('"${env:U,sqlite:///m.db}"', {}, "sqlite:///m.db"), ("${env:N,3}", {"N": ""}, None),
    ("'${env:N,a,b}'", {}, "a,b"), ("$N {x}", {}, "$N {x}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "environ", "value"), ENVIRONMENT)
def test_environment(text: str, environ: dict[str, str], value: object) -> None:
    found = read(f"key: {text}", **environ)["key"]
    assert found == value
    assert type(found) is type(value)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIDL_TEST_VALUE", "5")
    assert parse("a: ${env:MINIDL_TEST_VALUE}", name="f").root.plain() == {"a": 5}
    assert os.environ["MINIDL_TEST_VALUE"] == "5"


EMPTY = "the file is empty; a config needs at least data, model and optimizer"
ERRORS = [
    ("a: 1\nb: 2\na: 3\n", 3, 1, "key `a` is given twice; first at c.yaml:1:1"),
    ("x: {a: 1, b: 2, a: 3}", 1, 17, "key `a` is given twice; first at c.yaml:1:5"),
    ("1: x", 1, 1, "a key must be text"),
    ("true: x", 1, 1, "a key must be text"),
    ("? [1]\n: x", 1, 3, "a key must be text"),
    ("a: &m {x: 1}\nb:\n  <<: *m\n", 3, 3, "merge keys (<<) are not part of YAML 1.2"),
    ("a: !!python/name:os.system x", 1, 4, "unknown tag `!!python/name:os.system`"),
    ("a: !!python/object/apply:os.a [x]", 1, 4, "unknown tag `!!python/object/apply:os.a`"),
    ("a: !mine {b: 1}", 1, 4, "unknown tag `!mine`"),
    ("a: !!timestamp 2024-01-01", 1, 4, "unknown tag `!!timestamp`"),
    ("a: !!int abc", 1, 4, "`abc` is not of type int"),
    ("a: !!map [1]", 1, 4, "tag `!!map` does not fit what follows it"),
    ("a: &x [1, *x]", 1, 4, "this value contains itself, through an alias"),
    ("a: *x", 1, 4, "found undefined alias 'x'"),
    ("a: &x 1\nb: &x 2", 2, 4, "an anchor of this name is there already"),
    ("a: [1\nb: 2\n", 2, 2,
     "expected ',' or ']', but got ':' (while parsing a flow sequence that begins at 1:4)"),
    ("a: b: c", 1, 5, "`:` is not expected here"),
    ("a:\n\tb: 1", 2, 1, "a tab where YAML wants blanks"),
    ("a: 'x", 1, 6, "found unexpected end of stream"),
    ("a: 1\n---\nb: 2", 2, 1, "a second document begins here; a config is one document"),
    ("", 1, 1, EMPTY),
    ("# only a comment\n", 1, 1, EMPTY),
    ("a: x\x07", 1, 5, "character U+0007 has no place in YAML"),
    ("a: 1\nb: x\0y", 2, 5, "character U+0000 has no place in YAML"),
    ('a: "\\0"', 1, 4, "the text holds a NUL character"),
    ('a: "\\ud800"', 1, 4, "the text holds half a surrogate pair, which is no character"),
    ('a: "\\UFFFFFFFF"', 1, 7, "a number or escape here is too large"),
    ("a: 9223372036854775808", 1, 4, "whole number `9223372036854775808` does not fit in 64 bits"),
    ("a: " + "9" * 6000, 1, 4, f"whole number `{'9' * 24}…` does not fit in 64 bits"),
    ("a: " + "[" * 99 + "]" * 99, 1, 67, "nested deeper than 64 levels"),
    ("a: ${env:NOPE}", 1, 4,
     "environment variable NOPE is not set; set it, or give a default: ${env:NOPE,…}"),
    ("a: ${nope}", 1, 4, "`${nope}`: what there is are ${env:NAME} and ${env:NAME,default}"),
    ("a: 'x ${env:9}'", 1, 4,
     "`x ${env:9}`: what there is are ${env:NAME} and ${env:NAME,default}"),
    ("a: ${env:LOOP}", 1, 4, "environment variable LOOP holds `${`, which a config cannot hold"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message"), ERRORS)
def test_errors_name_their_place(text: str, line: int, column: int, message: str) -> None:
    assert [found[:3] for found in problems(text, LOOP="${env:LOOP}")] == [(line, column, message)]


def test_an_error_shows_the_line_with_a_caret() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("a: 1\nbb: c: d\n", name="c.yaml")
    assert str(caught.value) == (
        "c.yaml:2:6: `:` is not expected here\n"
        "    bb: c: d\n"
        "         ^\n"
        "  check the indentation, or put text that holds `: ` in quotes"
    )


def test_an_unquoted_variable_in_braces_gets_a_hint() -> None:
    for text in ("a: {b: ${env:X}}", "a: {b: ${env:X}}\n", "a:\n  - {b: ${env:X,3}, c: 1}\nd: 1\n"):
        ((_, _, _, suggestion),) = problems(text)
        assert suggestion == 'inside { } and [ ], quotes are needed: "${env:NAME,default}"'


def test_a_long_line_is_shown_around_the_caret() -> None:
    (line, column, *_), *_ = problems(f"a: '{'x' * 500}', b: [")
    with pytest.raises(ConfigError) as caught:
        parse(f"a: '{'x' * 500}', b: [", name="c.yaml")
    text, caret = caught.value.problems[0].snippet.splitlines()
    assert (line, column) == (1, 506)
    assert len(text) <= 88
    assert text[caret.index("^")] == ","


def test_several_mistakes_are_told_at_once() -> None:
    places = [found[:2] for found in problems("a: ${env:X}\na: 1\n1: 2\nb: !x y\n")]
    assert sorted(places) == [(1, 4), (2, 1), (3, 1), (4, 4)]


def test_aliases_cannot_multiply_without_end() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    ((line, _, message, _),) = problems("\n".join(rows))
    assert message == "aliases make this more than 10,000 values"
    assert line == 1


def test_aliases_may_repeat_a_value_a_few_times() -> None:
    assert read("a: &x {k: [1]}\nb: *x\nc: [*x, *x]") == {
        "a": {"k": [1]}, "b": {"k": [1]}, "c": [{"k": [1]}, {"k": [1]}],
    }  # fmt: skip


def test_the_number_of_values_is_bounded() -> None:
    ((_, _, message, _),) = problems("[" + "1, " * 20_000 + "]")
    assert message == "more than 10,000 values"


def test_depth_up_to_the_limit_is_read() -> None:
    inner = MAX_DEPTH - 1
    assert read("[" * inner + "1" + "]" * inner) is not None


def failure(path: Path | str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    return caught.value


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "mnist_cnn.yaml").write_text("a: 1")
    missing = failure(tmp_path / "mnist_cmn.yaml").problems[0]
    assert missing.message == "there is no such file"
    assert missing.suggestion == "did you mean `mnist_cnn.yaml`?"
    assert failure(tmp_path).problems[0].message == "this is a directory; a config is a YAML file"
    assert "the file cannot be read: " in str(failure("a\0b"))
    large = tmp_path / "large.yaml"
    large.write_text("#" * (MAX_BYTES + 1))
    assert "larger than 1,000,000 bytes" in str(failure(large))


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: 1\nö: caf\xe9\n".encode("latin-1"))
    (problem,) = failure(path).problems
    assert (problem.line, problem.column) == (2, 1)
    assert problem.message == "byte 0xf6 is not UTF-8"
    assert problem.suggestion == "save the file as UTF-8"
    path.write_bytes("a: 1\n".encode("utf-16"))
    assert "byte 0xff is not UTF-8" in str(failure(path))


def test_reading_constructs_nothing() -> None:
    source = parse("a: {b: [1]}", name="f", environ={})
    assert isinstance(source, Source)
    assert type(source.root.plain()["a"]) is dict


TREES = [
    "a: 1\nb: [x, {c: 'd', e: \"f\"}]\n", "- &x {a: b}\n- *x\n",
    "a:\n  - b\n  - c: |\n      text\n    d: >-\n      folded\n",
    "a: é\nb: [大, きさ, {k: '${env:N,3}'}]\nc: ${env:N,3}\n", "# c\n\na : 1   # d\n? b\n: 2\n",
    "a: !!str 1\nb: ! 2\n", "{a: [1, 2], b: {}}",
]  # fmt: skip


def test_both_composers_read_the_same() -> None:
    """What libyaml reads, PyYAML's own parser reads alike: values, tags, quotes and places."""
    if not yaml.__with_libyaml__:
        pytest.skip("PyYAML is without libyaml here: there is only one")

    def shape(node: yaml.Node) -> object:
        place = (node.tag, node.start_mark.line, node.start_mark.column)
        if isinstance(node, yaml.ScalarNode):
            return (*place, node.value, node.style or None)
        if isinstance(node, yaml.MappingNode):
            return (*place, [(shape(key), shape(value)) for key, value in node.value])
        return (*place, [shape(child) for child in node.value])

    configs = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
    for text in [*TREES, *(path.read_text(encoding="utf-8") for path in configs)]:
        fast, slow = (kind(text).get_single_node() for kind in (_FastComposer, _Composer))
        assert shape(fast) == shape(slow), text


@pytest.mark.parametrize(
    "text", ["a:\nb: 1\n", "b: 1\na:\n", "b: 1\na:   # c\n\n", "x: {a: , b: 1}"]
)
def test_the_place_of_nothing_is_behind_its_key(text: str) -> None:
    source = parse(text, name="c", environ={})
    path = ("x", "a") if text.startswith("x") else ("a",)
    node = source.trail(path)[-1]
    assert (node.value, node.place.line, node.place.column) == (
        None, node.key.line, node.key.column + 2,
    )  # fmt: skip
