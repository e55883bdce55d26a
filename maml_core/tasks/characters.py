"""N-way K-shot episodes of characters (section 5.2), from Omniglot or from glyphs."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..episodes import Episodes, query_points
from ..util.checks import at_least, one_of
from .glyphs import draw_glyphs
from .omniglot import load_omniglot
from .sampling import check_bytes, check_classes, class_episodes

# Characters in each part, by split. "alphabets" keeps alphabets whole: the 20 alphabets of Omniglot's own evaluation set
# are for the test, and the last three of the 30 background alphabets (Syriac, Tagalog, Tifinagh) for validation.
SPLITS = {
    "characters": {"train": 1100, "validation": 100, "test": 423},
    "alphabets": {"train": 869, "validation": 95, "test": 659},
}


@dataclass(frozen=True)
class Characters:
    """Pictures and where they come from: images uint8 [C, 20, 28, 28], source "omniglot" or "glyphs"."""

    images: Tensor
    source: str

    def to(self, device: torch.device | str) -> "Characters":
        return Characters(self.images.to(device), self.source)

    def split(self, part: str, by: str = "characters") -> "Characters":
        """One part of a split: "train", "validation" or "test".

        by: "characters" is the split of the authors' code, 1,100 / 100 / 423 characters from all 50 alphabets: the test
        characters share alphabets with the training set. The code shuffles them with Python's `random`, seed 1, starting
        from the order in which the file system happens to list them; we sort them first, so that everyone gets the same
        split. "alphabets" is Omniglot's own: 964 background characters (869 / 95) against 659 from alphabets that
        training never sees. (Glyphs have no alphabets; for them it is just another split.)
        """
        one_of(SPLITS, by=by)
        sizes = SPLITS[by]
        one_of(sizes, part=part)
        order = list(range(len(self.images)))
        if by == "characters":
            random.Random(1).shuffle(order)
        names = list(sizes)
        start = sum(sizes[name] for name in names[: names.index(part)])
        return Characters(self.images[order[start : start + sizes[part]]], self.source)


def load_characters(source: str = "auto", root: Path | str | None = None, download: bool = False) -> Characters:
    """Omniglot if it is available, otherwise glyphs.

    source:    "omniglot" (an error if there is none), "glyphs", or "auto"
    download:  whether torchvision may fetch Omniglot
    Raises FileNotFoundError or ValueError as `load_omniglot` does; "auto" accepts that Omniglot is missing, but not that
    it is damaged or incomplete, or cannot be read because Pillow is missing.
    """
    if source not in ("auto", "omniglot", "glyphs"):
        raise ValueError(f'source must be "auto", "omniglot" or "glyphs", not {source!r}.')
    if source != "glyphs":
        try:
            return Characters(load_omniglot(root, download), "omniglot")
        except FileNotFoundError:
            if source == "omniglot":
                raise
    return Characters(draw_glyphs(), "glyphs")


@dataclass(frozen=True)
class CharacterTasks:
    """p(T): N characters, K drawings of each to adapt on and Q others to test on.

    images:     uint8 [C, D, 28, 28], C characters with D drawings each
    ways:       N, distinct characters in a task
    shots:      K, support drawings of each
    queries:    Q, query drawings of each; the paper's code takes K
    rotations:  turn each character of a task by 0, 90, 180 or 270 degrees, support and query alike (the code
                does, at test time as well); no task has the same character twice
    turned_classes: each of a character's four orientations is a class of its own, so there are 4C of them, and two of
                the same character may occur in one task; `rotations` is then ignored
    """

    images: Tensor
    ways: int
    shots: int
    queries: int | None = None
    rotations: bool = True
    turned_classes: bool = False

    def __post_init__(self) -> None:
        check_bytes(self.images, "CharacterTasks")
        characters, drawings = self.images.shape[:2]
        queries = query_points(self.shots, self.queries)
        classes, there_are = (4 * characters, "turned characters") if self.turned_classes else (characters, "characters")
        check_classes(
            self.ways, self.shots, queries, classes, there_are, drawings, "drawings of a character, and there are"
        )
        object.__setattr__(self, "queries", queries)

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """`tasks` tasks: x float [T, N*K, 1, 28, 28] in 0..1 (ink is 1), y int64 [T, N*K] = 0 0 .. 1 1 .. N-1.

        Characters are drawn without replacement within a task, so which one gets label 0 is already random.
        """
        at_least(1, tasks=tasks)
        characters, drawings = self.images.shape[:2]
        device = self.images.device

        def rand(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=device)

        # The largest of independent random numbers are a uniform choice without replacement.
        chosen = rand(tasks, characters * (4 if self.turned_classes else 1)).topk(self.ways).indices  # [T, N]
        chosen, quarters = chosen % characters, chosen // characters
        drawn = (
            rand(tasks, self.ways, drawings).topk(self.shots + query_points(self.shots, self.queries)).indices
        )  # [T, N, K+Q]
        x = self.images[chosen[..., None], drawn]  # [T, N, K+Q, 28, 28]
        if self.rotations and not self.turned_classes:
            quarters = torch.randint(4, (tasks, self.ways), generator=generator, device=device)
        if self.rotations or self.turned_classes:
            x = rotate(x, quarters)
        return class_episodes(x[:, :, :, None].float() / 255, self.shots)


def rotate(x: Tensor, quarters: Tensor) -> Tensor:
    """Turn x [T, N, D, S, S] by quarters [T, N] x 90 degrees: a permutation of the pixels, looked up."""
    size = x.shape[-1]
    pixels = torch.arange(size * size, device=x.device).view(size, size)
    turned = torch.stack([torch.rot90(pixels, k).flatten() for k in range(4)])  # [4, S*S]
    index = turned[quarters][:, :, None].expand(*x.shape[:3], -1)
    return x.flatten(-2).gather(-1, index).unflatten(-1, (size, size))
