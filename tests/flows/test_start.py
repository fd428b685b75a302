"""What a night that is told to stop says, whoever is told first."""

import os
import signal

import pytest
from prefect.exceptions import TerminationSignal

from flows.start import _stoppable


def test_sigterm_is_told_as_ctrl_c_is() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), _stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def broken(first: BaseException) -> None:
    """What Prefect does: it meets a signal, and then its server's absence."""
    try:
        raise first
    except BaseException:
        raise ConnectionError("Prefect's server is gone")  # noqa: B904


@pytest.mark.parametrize("first", [TerminationSignal(signal=signal.SIGTERM), KeyboardInterrupt()])
def test_what_broke_because_the_night_was_stopped_does_not_hide_that(first: BaseException) -> None:
    with pytest.raises(KeyboardInterrupt) as told, _stoppable():
        broken(first)
    assert isinstance(told.value.__cause__, ConnectionError)


def test_an_error_of_its_own_stays_one() -> None:
    with pytest.raises(ConnectionError), _stoppable():
        broken(ValueError("bad"))
