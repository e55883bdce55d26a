"""mini-ImageNet (Vinyals et al. 2016, split of Ravi and Larochelle 2017): pictures on disk, and tasks made of them.

100 classes of 600 pictures: 64 to train on, 16 to validate, 20 for the test. The pictures are ImageNet's, whose terms
forbid redistribution, so we cannot download them for you.
"""

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..episodes import Episodes, query_points
from ..networks import SIZE
from ..util.checks import at_least, one_of
from ..util.progress import progress
from .disk.listing import data_root, entries
from .disk.pictures import need_pillow, read_picture
from .sampling import check_bytes, check_classes, class_episodes, draw_examples

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
LAYOUTS = (tuple(FOLDERS.values()), ("images", *(f"{name}.csv" for name in FOLDERS.values())))
ENDINGS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Pictures:
    """One part of the classes: images uint8 [M, 3, 84, 84], class after class, how many each has [C], their C names."""

    images: Tensor
    counts: Tensor
    source: str = "mini-imagenet"
    names: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> "Pictures":
        return replace(self, images=self.images.to(device), counts=self.counts.to(device))


class MiniImageNet:
    """The folders train/ val/ test/, each with a folder of pictures for every class; or, if these are missing, the folder
    images/ with all pictures and Ravi and Larochelle's train.csv, val.csv and test.csv (filename,label) beside it.

    root: default `miniimagenet` in `data_root()`. Raises FileNotFoundError if it is missing. Each part is read when
    it is first requested.
    """

    source = "mini-imagenet"

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = data_root() / "miniimagenet" if root is None else Path(root)
        self._parts: dict[str, Pictures] = {}
        lacks = {layout: [name for name in layout if not (self.root / name).exists()] for layout in LAYOUTS}
        layout = min(LAYOUTS, key=lambda layout: len(lacks[layout]))
        if lacks[layout]:
            raise FileNotFoundError(
                f"No mini-ImageNet under {self.root} ({', '.join(lacks[layout])} missing). Its pictures are ImageNet's: "
                "get ILSVRC2012 from https://image-net.org, pick the classes and pictures of Ravi and Larochelle's split "
                "(https://github.com/twitter-research/meta-learning-lstm), and put them into train/CLASS, val/CLASS "
                "and test/CLASS there, or all into images with the split's train.csv, val.csv and test.csv beside it."
            )
        self._has_tables = layout == LAYOUTS[1]

    def split(self, part: str, by: str = "characters") -> Pictures:
        """One part: "train", "validation" or "test"; there is only one split, whatever `by` says."""
        one_of(FOLDERS, part=part)
        if part not in self._parts:
            name = FOLDERS[part]
            listed = _in_table(self.root / f"{name}.csv") if self._has_tables else _in_folders(self.root / name)
            self._parts[part] = _read(listed, name)
        return self._parts[part]


def _in_folders(folder: Path) -> dict[str, list[Path]]:
    """The pictures of each class, sorted."""
    classes = {path: _pictures_in(path) for path in entries(folder) if path.is_dir()}
    empty = [path for path, files in classes.items() if not files]
    if empty or not classes:
        raise ValueError(f"{empty[0] if empty else folder} has no pictures ({', '.join(ENDINGS)}) in it.")
    return {path.name: files for path, files in classes.items()}


def _pictures_in(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.suffix.lower() in ENDINGS]


def _in_table(table: Path) -> dict[str, list[Path]]:
    """The same from a table with the columns filename and label, and the folder images beside it."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            rows = [(row["filename"] or "", row["label"] or "") for row in csv.DictReader(lines)]
    except (KeyError, csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{table} is not a table with the columns filename and label.") from error
    if not rows or not all(map(all, rows)):
        raise ValueError(f"{table} has {'a row without a filename or a label' if rows else 'no rows'}: download it again.")
    classes: dict[str, list[Path]] = {label: [] for label in sorted({label for _, label in rows})}
    for filename, label in sorted(set(rows)):
        classes[label].append(table.parent / "images" / filename)
    files = [file for pictures in classes.values() for file in pictures]
    if missing := [file for file in files if not file.is_file()]:
        raise ValueError(
            f"{table} lists {len(files):,} pictures, and {len(missing):,} of them are missing, first {missing[0]}: "
            "add them, or remove their lines from the table."
        )
    return classes


def _read(classes: dict[str, list[Path]], label: str) -> Pictures:
    need_pillow()
    files = [file for pictures in classes.values() for file in pictures]
    images = np.empty((len(files), 3, SIZE, SIZE), np.uint8)
    for out, file in zip(images, progress(files, f"reading {label}")):
        out[:] = _read_picture(file)
    counts = torch.tensor([len(pictures) for pictures in classes.values()])
    return Pictures(torch.from_numpy(images), counts, names=tuple(classes))


def _read_picture(file: Path) -> np.ndarray:
    """uint8 [3, 84, 84]; pictures of other sizes are scaled."""
    image = read_picture(file, "RGB", "replace it or delete it")
    if image.size != (SIZE, SIZE):
        from PIL.Image import Resampling

        image = image.resize((SIZE, SIZE), Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1)


@dataclass(frozen=True)
class ImageTasks:
    """p(T) over N-way K-shot tasks of pictures: classes, and pictures within a class, are drawn without replacement."""

    pictures: Pictures
    ways: int
    shots: int
    queries: int | None = None
    _largest: int = field(init=False, repr=False, compare=False)  # kept, since a CUDA graph cannot ask a tensor for it

    def __post_init__(self) -> None:
        check_bytes(self.pictures.images, "ImageTasks")
        queries = query_points(self.shots, self.queries)
        counts, names = self.pictures.counts, self.pictures.names
        few = names[int(counts.argmin())] if names else "one"
        check_classes(
            self.ways, self.shots, queries, len(counts), "classes", int(counts.min()), f"pictures of a class, and {few} has"
        )
        object.__setattr__(self, "queries", queries)
        object.__setattr__(self, "_largest", int(counts.max()))

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """`tasks` tasks: x float [T, N*K, 3, 84, 84] in 0..1, y int64 [T, N*K] = 0 0 .. 1 1 .. N-1."""
        at_least(1, tasks=tasks)
        images, counts = self.pictures.images, self.pictures.counts
        each = self.shots + query_points(self.shots, self.queries)
        rows, _ = draw_examples(counts, self._largest, tasks, self.ways, each, generator)
        return class_episodes(images[rows].float() / 255, self.shots)
