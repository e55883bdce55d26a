"""Examples of a data set as tensors: one, many, all at once, or ahead of the training that needs them."""

import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...episodes import Episodes
from ...util.progress import progress
from .class_index import described, pair

if TYPE_CHECKING:
    from .distribution import FewShotTasks

BATCH = 64  # examples that a worker reads at a time where all are read
Key = tuple[int, int]  # an example's index, and the seed of its random transforms


def as_tensor(x: Any, index: int) -> Tensor:
    """uint8 as it is, all else float32; a PIL image as [C, H, W], arrays and tensors in their own shape."""
    pillow = sys.modules.get("PIL.Image")  # imported by whoever made the image
    if pillow is not None and isinstance(x, pillow.Image):
        array = np.array(x)
        if x.mode == "1":
            array = array.astype(np.uint8) * 255
        x = torch.from_numpy(array.reshape(*array.shape[:2], -1)).movedim(-1, 0)
    elif isinstance(x, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(x))
    if not isinstance(x, Tensor):
        raise ValueError(
            f"x of example {index} is {described(x)}: give the data set a transform that makes it a tensor, an array or "
            "a PIL image."
        )
    return x.detach() if x.dtype == torch.uint8 else x.detach().float()


def as_float(x: Tensor) -> Tensor:
    """float32; uint8 is taken for pixels and scaled to 0..1."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


class Examples(Dataset):
    """x of a data set, by index and seed; all of one shape and type, that of the example `first`.

    The seed is that of torch's global generator while the example is read (it is then put back), so that random
    transforms draw the same in any process. Raises ValueError for an item that is not a pair, and for another shape.
    """

    def __init__(self, dataset: Dataset, first: int) -> None:
        self.dataset, self.first = dataset, first
        self.like = self._read((first, first))

    def __getitem__(self, key: Key) -> Tensor:
        x = self._read(key)
        if x.shape != self.like.shape or x.dtype != self.like.dtype:
            ours, theirs = (f"{list(t.shape)} ({str(t.dtype).removeprefix('torch.')})" for t in (x, self.like))
            raise ValueError(
                f"All x need one shape and type, but example {self.first} has {theirs} and example {key[0]} {ours}: give "
                "the data set a transform that resizes or converts them."
            )
        return x

    def _read(self, key: Key) -> Tensor:
        index, seed = key
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would change the GPU's generators as well
            return as_tensor(pair(self.dataset, index)[0], index)

    def batches(self, keys: Iterable[list[Key]], workers: int) -> Iterator[Tensor]:
        """The examples of each list of keys [len(keys), ...], in order; `workers` processes read ahead."""
        loader = DataLoader(
            self, batch_sampler=keys, num_workers=workers, collate_fn=torch.stack, worker_init_fn=_ignore_interrupts,
            generator=torch.Generator(),  # its own: by default, a loader draws a seed from the global one
        )  # fmt: skip
        return iter(loader)

    def read(self, indices: list[int], workers: int) -> Tensor:
        """All x of these indices in one tensor [M, ...]; a random transform draws by the example's index."""
        out = self.like.new_empty((len(indices), *self.like.shape))
        keys = [[(i, i) for i in indices[start : start + BATCH]] for start in range(0, len(indices), BATCH)]
        with progress(None, "reading examples", total=len(indices)) as bar:
            for rows, x in zip(out.split(BATCH), self.batches(keys, workers)):
                rows.copy_(x)
                bar.update(len(x))
        return out


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches workers too: the process that trains finishes its iteration with them, and ends them itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class ReadAhead:
    """The tasks of a `FewShotTasks`, drawn ahead of time and read by worker processes; see its `reading_ahead`."""

    def __init__(self, tasks: "FewShotTasks", workers: int) -> None:
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
    tasks: "FewShotTasks", size: int, generator: torch.Generator, drawn: deque[tuple[Tensor, Tensor]]
) -> Iterator[list[Key]]:
    """One meta-batch's keys after the other; not a method, as a loader that knows its owner would not end with it."""
    while True:
        before = generator.get_state()
        keys = tasks.keys(size, generator)
        drawn.append((before, generator.get_state()))
        yield keys
