"""Ctrl-C and SIGTERM as a wish: the meta-iteration is finished and written down first."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """The training was asked to stop, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number


class Wish:
    """Whether somebody has asked to stop, and by which signal (`number`; None: nobody).

    gently: note the wish and go on, for whoever looks at it after each meta-iteration; else raise Stopped at once, as
    in a compilation, which nobody wants to wait for. Asked a second time, it raises in any case.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.gently = False
        self._asked = 0.0

    def hear(self, number: int, frame: FrameType | None = None) -> None:
        """What the signal calls. One Ctrl-C can arrive several times: torchrun hands it on to its processes."""
        again = self.number is not None and time.monotonic() - self._asked > 1
        if self.number is None:
            self.number, self._asked = number, time.monotonic()
        if again or not self.gently:
            raise Stopped(number)


@contextmanager
def wish_to_stop() -> Iterator[Wish]:
    """Listen to SIGINT and SIGTERM; afterwards they mean what they meant before.

    Only a process's main thread can listen; elsewhere the wish is never heard.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.signal(number, wish.hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
