"""Signals as a request to stop, which the work obeys when it can."""

import os
import signal
import threading

import pytest

from luna.run.stop import Stop, stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request_and_its_handler_comes_back(number):
    before = signal.getsignal(number)
    stop, told = Stop(), []
    with stoppable(stop, on_request=lambda: told.append("stopping")):
        os.kill(os.getpid(), number)
        assert (stop.signal, told) == (number, ["stopping"])
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_does_not_wait():
    def press_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), stoppable(Stop()):
        press_twice()


def test_signals_that_were_not_named_are_not_caught():
    class TerminatedError(Exception):
        pass

    def terminate(number, frame):
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(TerminatedError), stoppable(Stop(), [signal.SIGINT]):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_listens_to_no_signal():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with stoppable(Stop()):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
