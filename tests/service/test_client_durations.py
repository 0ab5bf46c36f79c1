"""Lengths of time on the command line."""

from __future__ import annotations

import pytest

from minidl.service.client.durations import seconds_of


@pytest.mark.parametrize("text", ["", "0", "-5", "5x", "1h30m", "nan", "inf", "1e3", "9999999w"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no length of time; write 90s"):
        seconds_of(text)
