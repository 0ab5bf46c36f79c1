"""Damaged configs: whatever is done to one, it loads, or it fails as a ConfigError with a place."""

import json
import subprocess
import sys
from typing import Any

import mutated_configs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutated_configs import tells_places

from minidl.train.config import ConfigError
from minidl.train.config.yaml_scalars import dump_yaml
from minidl.train.config.yaml_source import parse

#: 10,000 in all.
CASES = [
    ("stand-ins", "keys", 4_500, (0.1, 0.8)),
    ("stand-ins", "bytes", 2_500, (0.0, 0.5)),
    ("stand-ins", "includes", 2_000, (0.05, 0.8)),
    ("real", "keys", 700, (0.1, 0.8)),
    ("real", "includes", 300, (0.05, 0.8)),
]


def in_a_process_of_its_own(*arguments: str) -> dict[str, Any]:
    """Load mutated configs where nothing else takes time or memory."""
    done = subprocess.run(
        [sys.executable, mutated_configs.__file__, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "kind", "cases", "loaded"), CASES)
def test_mutated_configs(classes: str, kind: str, cases: int, loaded: tuple[float, float]) -> None:
    found = in_a_process_of_its_own(classes, kind, str(cases))
    assert found["cases"] == cases
    assert found["slowest"] < 1.0, "seconds"
    assert found["peak_mb"] < 200
    least, most = loaded
    assert least < found["loaded"] / cases < most, "mutations should neither spare nor break all"


def test_there_are_ten_thousand() -> None:
    assert sum(case[2] for case in CASES) == 10_000


def test_bombs() -> None:
    found = in_a_process_of_its_own("stand-ins", "bombs", "0")
    assert found["peak_mb"] < 200
    slow = {name: seconds for name, seconds in found["seconds"].items() if seconds > 1.0}
    assert not slow


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("abc é:#-_0", min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(PLAIN)
def test_any_plain_data_survives_being_written_and_read(data: Any) -> None:
    text = dump_yaml({"key": data})
    if "\\0" not in text and "${" not in text:
        source = parse(text, name="c", environ={})
        assert source.root.faults() == []
        assert source.root.plain() == {"key": data}


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=60) | st.text("{}[]:,-?!&*'\"|>#\n \t\\ax1%$", max_size=60))
def test_any_text_is_yaml_or_an_error_with_a_place(text: str) -> None:
    try:
        source = parse(text, name="c", environ={})
    except ConfigError as error:
        tells_places(error)
    else:
        assert source.root.place.line
