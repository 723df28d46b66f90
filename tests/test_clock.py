"""The two clocks."""

import pytest

from ringrift.clock import Clock, SystemClock, VirtualClock


def test_virtual_time_moves_only_when_told() -> None:
    clock = VirtualClock(100)
    clock.sleep(5)
    assert (clock.now(), clock.monotonic()) == (105, 105)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_system_time_never_goes_back() -> None:
    clock: Clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= before
    assert clock.now() > 1.7e9
