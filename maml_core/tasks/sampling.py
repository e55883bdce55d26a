"""N-way K-shot episodes: what sampling them has in common, whatever the pictures are."""

import torch
from torch import Tensor

from ..episodes import Episodes
from ..util.checks import at_least


def class_episodes(x: Tensor, shots: int) -> Episodes:
    """Episodes from the pictures of each class, x [T, N, K+Q, ...]: the first K to adapt on, labels 0 0 .. 1 1 .. N-1."""
    y = torch.arange(x.shape[1], device=x.device)[:, None].expand(*x.shape[:3])
    parts = (x[:, :, :shots], y[:, :, :shots], x[:, :, shots:], y[:, :, shots:])
    return Episodes(*(part.flatten(1, 2) for part in parts))


def draw_examples(
    counts: Tensor, largest: int, tasks: int, ways: int, each: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw classes, and examples within a class, without replacement, from examples that are stored class after class.

    counts [C]: sizes of the classes, on the generator's device; largest: their maximum; each: examples drawn of a class.
    Returns the rows of the drawn examples [T, N, each], and the random numbers that chose them, of the same shape.
    """

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    # The largest of independent random numbers are a uniform choice without replacement.
    chosen = rand(tasks, len(counts)).topk(ways).indices  # [T, N]
    order = rand(tasks, ways, largest)
    there = torch.arange(largest, device=generator.device) < counts[chosen][..., None]
    drawn = torch.where(there, order, -1.0).topk(each)
    starts = counts.cumsum(0) - counts
    return starts[chosen][..., None] + drawn.indices, drawn.values


def check_bytes(images: Tensor, who: str) -> None:
    """ValueError, unless the pictures are bytes, which `who` scales to 0..1."""
    if images.dtype != torch.uint8:
        raise ValueError(
            f"{who} takes pictures as torch.uint8, in 0..255, not {images.dtype}: multiply pictures in 0..1 by 255 and "
            "call .byte()."
        )


def check_classes(ways: int, shots: int, queries: int, classes: int, there_are: str, members: int, needed: str) -> None:
    """ValueError, if tasks of N ways with K shots and Q queries cannot be drawn from so many classes and members.

    there_are, needed: words for the messages: what the classes are called, and what comes before the number of members.
    """
    at_least(1, ways=ways, shots=shots, queries=queries)
    if ways > classes:
        raise ValueError(f"{ways} ways need {ways} {there_are}, and there are {classes}: lower ways.")
    if shots + queries > members:
        raise ValueError(
            f"{shots} shots and {queries} queries need {shots + queries} {needed} {members}: lower one of them."
        )
