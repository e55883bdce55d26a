"""Reading examples ahead of the training that needs them."""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from ...episodes import Episodes
from .examples import Examples, Key


class Readable(Protocol):
    """What reading ahead needs of `FewShotTasks`: which examples to draw, and what to make of them."""

    ways: int
    examples: Examples

    def keys(self, tasks: int, generator: torch.Generator) -> list[Key]: ...
    def episodes(self, x: Tensor, device: torch.device) -> Episodes: ...


class ReadAhead:
    """The tasks of a `FewShotTasks`, drawn ahead of time and read by worker processes; see its `reading_ahead`."""

    def __init__(self, tasks: Readable, workers: int) -> None:
        self._tasks, self._workers = tasks, workers
        self._drawn: deque[tuple[Tensor, Tensor]] = deque()  # the generator's states before and after a meta-batch
        self._batches: Iterator[Tensor] = iter(())
        self._size = 0

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """What the tasks' own `sample` returns, and the generator as that leaves it."""
        state = generator.get_state()
        if tasks != self._size or not self._drawn or not torch.equal(state, self._drawn[0][0]):
            self._start(tasks, generator)
        try:
            x = next(self._batches)
        except BaseException:
            self._stop()  # what comes next is no longer what was drawn first
            raise
        generator.set_state(self._drawn.popleft()[1])
        return self._tasks.episodes(x.unflatten(0, (tasks, self._tasks.ways, -1)), generator.device)

    def _start(self, tasks: int, generator: torch.Generator) -> None:
        self._stop()
        ahead = torch.Generator(generator.device)
        ahead.set_state(generator.get_state())
        self._size = tasks
        self._batches = self._tasks.examples.batches(_keys(self._tasks, tasks, ahead, self._drawn), self._workers)

    def _stop(self) -> None:
        """End the workers now: an error that is still looked at holds the loader, and new workers would inherit it."""
        getattr(self._batches, "_shutdown_workers", lambda: None)()  # torch has no public way
        self._batches, self._drawn = iter(()), deque()


def _keys(
    tasks: Readable, size: int, generator: torch.Generator, drawn: deque[tuple[Tensor, Tensor]]
) -> Iterator[list[Key]]:
    """One meta-batch's keys after the other; not a method, as a loader that knows its owner would not end with it."""
    while True:
        before = generator.get_state()
        keys = tasks.keys(size, generator)
        drawn.append((before, generator.get_state()))
        yield keys
