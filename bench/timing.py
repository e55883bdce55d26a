"""Medians of interleaved samples: every side runs once per round, so that all are timed under the same background load."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# Fast sides repeat their call until a sample lasts this long, in seconds.
SAMPLE_SECONDS = 0.05


@dataclass
class Clock:
    """One side's timings.

    call:            runs `steps_per_call` meta-steps and returns when they are done
    calls:           calls per sample
    milliseconds:    per meta-step, one entry per round
    """

    call: Callable[[], None]
    steps_per_call: int
    calls: int = 1
    milliseconds: list[float] = field(default_factory=list)

    def warm_up(self) -> None:
        """Compile and fill caches, then choose the number of calls per sample."""
        for _ in range(2):
            self.call()
        self.calls = max(1, math.ceil(SAMPLE_SECONDS / self._seconds(1)))

    def sample(self) -> None:
        self.milliseconds.append(1000 * self._seconds(self.calls) / (self.calls * self.steps_per_call))

    def _seconds(self, calls: int) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            self.call()
        return time.perf_counter() - started

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def best(self) -> float:
        """The fastest sample: far below the median if the machine was slow at times."""
        return min(self.milliseconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The middle half of the samples: (25%, 75%)."""
        if len(self.milliseconds) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.milliseconds, n=4, method="inclusive")
        return low, high


def run_rounds(clocks: list[Clock], rounds: int, seconds: float = 0) -> int:
    """Sample all clocks in turn, reversing every other round, so that no side always follows the same one.

    seconds: minimum duration, to outlast the slow periods of a shared machine. Returns the number of rounds.
    """
    started, done = time.perf_counter(), 0
    while done < rounds or time.perf_counter() - started < seconds:
        for clock in clocks if done % 2 == 0 else reversed(clocks):
            clock.sample()
        done += 1
    return done
