"""Chunks of tasks side by side, one on each core.

torch's own way to use several cores is to split every operator among threads, which then wait for one another after each
of the hundreds of operators of a meta-iteration, and wait long where the machine has other work to do. Tasks do not depend
on one another. So here each core takes whole chunks of tasks, and the cores wait only once, before the gradients are
summed.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

from ..util.threads import threads

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


class Workers:
    """Threads that each apply a function to one chunk at a time; torch lets go of Python's lock while it computes.

    chunks: of a meta-batch; there are as many workers, but no more than torch uses threads, and no more than `most`
    """

    def __init__(self, chunks: int, most: int | None = None) -> None:
        self.count = min(chunks, most or chunks, torch.get_num_threads())
        self.threads_each = torch.get_num_threads() // self.count
        self._pool: ThreadPoolExecutor | None = None

    def map(self, function: Callable[[Chunk], Result], chunks: Sequence[Chunk]) -> list[Result]:
        """The results, in the order of the chunks; raises what the function raises.

        The first call stays in the calling thread, one chunk after another: it may compile, and Ctrl-C has to end that.
        """
        if self._pool is not None:
            return list(self._pool.map(function, chunks))
        with threads(self.threads_each):  # as later, since it decides how products are rounded
            results = [function(chunk) for chunk in chunks]
        if self.count > 1:
            self._pool = self._start()
        return results

    def _start(self) -> ThreadPoolExecutor:
        started = Barrier(self.count + 1)

        def begin() -> None:
            torch.get_num_threads()  # torch looks a new thread's number up at its first use, and keeps it
            started.wait()

        with threads(self.threads_each):  # the number that threads take over which start within this block
            pool = ThreadPoolExecutor(self.count, "worker", begin)
            for _ in range(self.count):
                pool.submit(int)  # the pool starts a thread for each job as long as none is idle
            started.wait()
        return pool
