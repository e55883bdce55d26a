"""mini-ImageNet (Vinyals et al. 2016, split of Ravi and Larochelle 2017): pictures in folders, and tasks made of them.

100 classes of 600 pictures: 64 to train on, 16 to validate, 20 for the test. The pictures are ImageNet's, whose terms
forbid passing them on, so that neither we nor anybody else may download them for you.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .checks import at_least
from .episodes import Episodes, check_classes, class_episodes
from .image_network import SIZE
from .omniglot import UNREADABLE, data_root
from .progress import progress

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
ENDINGS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Pictures:
    """One part of the classes: images uint8 [M, 3, 84, 84], class after class, and how many each class has [C]."""

    images: Tensor
    counts: Tensor
    source: str = "mini-imagenet"

    def to(self, device: torch.device | str) -> "Pictures":
        return Pictures(self.images.to(device), self.counts.to(device), self.source)


class MiniImageNet:
    """The folders train/ val/ test/, each with a folder of pictures for every class. A part is read when it is asked for.

    root: default `miniimagenet` in `data_root()`. Raises FileNotFoundError where it is not there.
    """

    source = "mini-imagenet"

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = data_root() / "miniimagenet" if root is None else Path(root)
        self._parts: dict[str, Pictures] = {}
        missing = [folder for folder in FOLDERS.values() if not (self.root / folder).is_dir()]
        if missing:
            raise FileNotFoundError(
                f"No mini-ImageNet under {self.root} ({', '.join(missing)} missing). Its pictures are ImageNet's: get "
                "ILSVRC2012 from https://image-net.org, pick the classes and pictures of Ravi and Larochelle's split "
                "(https://github.com/twitter-research/meta-learning-lstm), and put them into train/CLASS, val/CLASS "
                "and test/CLASS there."
            )

    def split(self, part: str, by: str = "characters") -> Pictures:
        """One part: "train", "validation" or "test"; there is only one split, whatever `by` says."""
        if part not in FOLDERS:
            raise ValueError(f"part must be one of {', '.join(FOLDERS)}, not {part!r}.")
        if part not in self._parts:
            self._parts[part] = _read(self.root / FOLDERS[part])
        return self._parts[part]


def _read(folder: Path) -> Pictures:
    classes = {path: _pictures_in(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    empty = [path.name for path, files in classes.items() if not files]
    if empty or not classes:
        raise ValueError(f"{folder / empty[0] if empty else folder} has no pictures ({', '.join(ENDINGS)}) in it.")
    files = [file for pictures in classes.values() for file in pictures]
    images = np.empty((len(files), 3, SIZE, SIZE), np.uint8)
    for out, file in zip(images, progress(files, f"reading {folder.name}")):
        out[:] = _read_picture(file)
    return Pictures(torch.from_numpy(images), torch.tensor([len(pictures) for pictures in classes.values()]))


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)


def _read_picture(file: Path) -> np.ndarray:
    """uint8 [3, 84, 84]; pictures of other sizes are scaled."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image = image.convert("RGB")
            if image.size != (SIZE, SIZE):
                image = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            return np.asarray(image).transpose(2, 0, 1)
    except UNREADABLE as error:
        raise ValueError(f"{file} is not a readable picture: replace it or delete it.") from error


@dataclass(frozen=True)
class ImageTasks:
    """p(T) over N-way K-shot tasks of pictures: classes without replacement, and in a class pictures without it."""

    pictures: Pictures
    ways: int
    shots: int
    queries: int | None = None

    def __post_init__(self) -> None:
        queries = self.shots if self.queries is None else self.queries
        counts = self.pictures.counts
        check_classes(
            self.ways, self.shots, queries, len(counts), "classes", int(counts.min()), "pictures of a class, and one has"
        )
        object.__setattr__(self, "queries", queries)

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """`tasks` tasks: x float [T, N*K, 3, 84, 84] in 0..1, y int64 [T, N*K] = 0 0 .. 1 1 .. N-1."""
        at_least(1, tasks=tasks)
        images, counts = self.pictures.images, self.pictures.counts

        def rand(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=images.device)

        chosen = rand(tasks, len(counts)).topk(self.ways).indices  # [T, N]
        order = rand(tasks, self.ways, int(counts.max()))
        there = torch.arange(order.shape[-1], device=images.device) < counts[chosen][..., None]
        drawn = torch.where(there, order, -1.0).topk(self.shots + self.queries).indices  # [T, N, K+Q]
        starts = counts.cumsum(0) - counts
        return class_episodes(images[starts[chosen][..., None] + drawn].float() / 255, self.shots)
