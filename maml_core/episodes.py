"""Episodes: a meta-batch of tasks, every tensor with the task axis `T` in front.

The paper samples tasks T_i from a distribution p(T) and, from each, points to adapt on and points
to judge the adapted weights by (Algorithm 2). Few-shot learning calls the first the support set and the
second the query set.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from .checks import at_least


@dataclass(frozen=True)
class Episodes:
    """A meta-batch of T tasks with N ways and K shots (regression: N = 1).

    support_x: [T, N*K, ...]    what a task adapts on (D_i in the paper)
    support_y: [T, N*K]         labels 0..N-1 (int64), or targets (float)
    query_x:   [T, N*Q, ...]    what the adapted weights are judged by (D'_i)
    query_y:   [T, N*Q]
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four tensors, in the order of the fields."""
        return self.support_x, self.support_y, self.query_x, self.query_y

    def __len__(self) -> int:
        return len(self.support_x)

    def __getitem__(self, tasks: int | slice) -> "Episodes":
        """One task without the task axis (`episodes[3]`), or some of them (`episodes[:8]`)."""
        return Episodes(*(t[tasks] for t in self.tensors()))

    def __iter__(self) -> Iterator["Episodes"]:
        """One task after the other, without the task axis: Algorithm 1's `for all T_i`."""
        return (self[i] for i in range(len(self)))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Episodes":
        """The same episodes elsewhere; `dtype` changes floating-point tensors only, labels stay integers."""
        return Episodes(*(t.to(device, dtype if t.is_floating_point() else None) for t in self.tensors()))

    def __repr__(self) -> str:
        shapes = ", ".join(f"{f.name} {list(getattr(self, f.name).shape)}" for f in fields(self))
        return f"Episodes({shapes})"


def class_episodes(x: Tensor, shots: int) -> Episodes:
    """Episodes from the pictures of each class, x [T, N, K+Q, ...]: the first K to adapt on, labels 0 0 .. 1 1 .. N-1."""
    y = torch.arange(x.shape[1], device=x.device)[:, None].expand(*x.shape[:3])
    parts = (x[:, :, :shots], y[:, :, :shots], x[:, :, shots:], y[:, :, shots:])
    return Episodes(*(part.flatten(1, 2) for part in parts))


def check_classes(ways: int, shots: int, queries: int, classes: int, there_are: str, members: int, needed: str) -> None:
    """ValueError, if tasks of N ways with K shots and Q queries cannot be drawn from so many classes and members.

    there_are, needed: what a class is called, and the members with how many there are, as the sentences have them.
    """
    at_least(1, ways=ways, shots=shots, queries=queries)
    if ways > classes:
        raise ValueError(f"{ways} ways need {ways} {there_are}, and there are {classes}: lower ways.")
    if shots + queries > members:
        raise ValueError(
            f"{shots} shots and {queries} queries need {shots + queries} {needed} {members}: lower one of them."
        )


def seeded_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that starts from `seed`; a ValueError where torch would take another number for it."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be from 0 to 2**63 - 1, not {seed}.")
    return torch.Generator(device).manual_seed(seed)


class TaskDistribution(Protocol):
    """p(T): anything that draws a meta-batch of tasks. Your own needs just this one method."""

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """`tasks` tasks drawn independently, with no randomness but the generator's."""
        ...
