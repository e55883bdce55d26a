"""Examples of a data set as tensors: one, many, or all at once."""

import signal
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...util.progress import progress
from ..disk.pictures import UNKNOWN, flat, is_deep
from .class_index import described, pair

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 64  # examples that a worker reads at a time where all are read
EIGHT_BITS = {"1": "L", "P": "RGB", "PA": "RGB"}  # palettes hold numbers of colours
Key = tuple[int, int]  # an example's index, and the seed of its random transforms


def as_tensor(x: Any, index: int) -> Tensor:
    """uint8 as it is, other integers as int64, all else as float32; a PIL image as [C, H, W], others in their own shape."""
    pillow = sys.modules.get("PIL.Image")  # imported by whoever made the image
    if pillow is not None and isinstance(x, pillow.Image):
        array = np.array(_in_8_bits(x, index))
        x = torch.from_numpy(array.reshape(*array.shape[:2], -1)).movedim(-1, 0)
    elif isinstance(x, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(x))
    if not isinstance(x, Tensor):
        raise ValueError(
            f"x of example {index} is {described(x)}: give the data set a transform that makes it a tensor, an array or "
            "a PIL image."
        )
    x = x.detach()
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        return x.float()
    return x if x.dtype == torch.uint8 else x.long()


def _in_8_bits(image: "Image", index: int) -> "Image":
    """The picture in its own mode, or what Pillow's other modes stand for: grey or colour."""
    deep = is_deep(image)
    if image.mode in UNKNOWN and not deep:
        raise ValueError(
            f"x of example {index} is a PIL image of mode {image.mode}, where black and white are unknown: give the data "
            "set a transform that makes it a tensor of floats, or an image of 8 bits."
        )
    mode = "L" if deep else EIGHT_BITS.get(image.mode, image.mode)
    return image if mode == image.mode else flat(image, deep, mode)


def scaled(x: Tensor) -> Tensor:
    """uint8 is taken for pixels, and becomes float32 from 0 to 1; all else stays as it is."""
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
