"""Graceful stops on Ctrl-C and SIGTERM: finish and save the current meta-iteration first."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """The training run was stopped by the signal with this number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number


class StopRequest:
    """The signal that asked the run to stop (`number`), None so far.

    deferred: record the request, for a loop that checks it after each meta-iteration. If False, raise Stopped at once,
    for instance during compilation, which can take minutes. A second request always raises.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.deferred = False
        self._received = 0.0

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """The signal handler. One Ctrl-C can arrive several times, since torchrun forwards it to its processes."""
        repeated = self.number is not None and time.monotonic() - self._received > 1
        if self.number is None:
            self.number, self._received = number, time.monotonic()
        if repeated or not self.deferred:
            raise Stopped(number)


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Handle SIGINT and SIGTERM, and restore the previous handlers on exit.

    Python only allows this in the main thread; in any other thread the request stays empty.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
