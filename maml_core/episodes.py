"""Episodes: a meta-batch of tasks, with the task axis `T` as the first axis of every tensor.

The paper samples tasks T_i from a distribution p(T) and, from each, points to adapt to and points to evaluate the adapted
weights on (Algorithm 2). In few-shot learning they are called the support set and the query set.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Episodes:
    """A meta-batch of T tasks with N ways and K shots (regression: N = 1).

    support_x: [T, N*K, ...]    what a task adapts to (D_i in the paper)
    support_y: [T, N*K]         labels 0..N-1 (int64), or targets (float)
    query_x:   [T, N*Q, ...]    what the adapted weights are evaluated on (D'_i)
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
        """A single task without the task axis (`episodes[3]`), or several tasks (`episodes[:8]`)."""
        return Episodes(*(t[tasks] for t in self.tensors()))

    def __iter__(self) -> Iterator["Episodes"]:
        """Iterate over tasks, without the task axis: Algorithm 1's `for all T_i`."""
        return (self[i] for i in range(len(self)))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Episodes":
        """Move or cast the episodes; `dtype` applies to floating-point tensors only, labels stay integers."""
        return Episodes(*(t.to(device, dtype if t.is_floating_point() else None) for t in self.tensors()))

    def __repr__(self) -> str:
        shapes = ", ".join(f"{f.name} {list(getattr(self, f.name).shape)}" for f in fields(self))
        return f"Episodes({shapes})"


class TaskDistribution(Protocol):
    """p(T): any object that draws a meta-batch of tasks. To use your own, implement this one method."""

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """Draw `tasks` independent tasks, with the generator as the only source of randomness."""
        ...


@runtime_checkable
class TasksFromNumbers(TaskDistribution, Protocol):
    """A p(T) whose tasks are a function of uniform random numbers, so that sampling can be part of a compiled graph."""

    def count(self, tasks: int) -> int:
        """How many random numbers it takes to build `tasks` tasks."""
        ...

    def build(self, numbers: Tensor, tasks: int) -> Episodes:
        """Build the tasks from `count(tasks)` random numbers in [0, 1)."""
        ...


def query_points(shots: int, queries: int | None) -> int:
    """Q, query points per class; K by default, as in the paper's code."""
    return shots if queries is None else queries


def check_tensors(x: Tensor, y: Tensor) -> None:
    """Raise ValueError for points that are arrays or lists."""
    for t in (x, y):
        if not isinstance(t, Tensor):
            raise ValueError(f"x and y must be tensors, not {type(t).__name__}: convert them with torch.as_tensor.")


def check_points(x: Tensor, y: Tensor) -> None:
    """Raise ValueError unless x and y are tensors that begin with the same [T, B]: only types and shapes are looked at."""
    check_tensors(x, y)
    if y.ndim < 2 or x.shape[:2] != y.shape[:2]:
        raise ValueError(
            f"x has shape {list(x.shape)} and y {list(y.shape)}, but both must begin with [T, B], for B points in each of "
            "T tasks: a single task needs the task axis too, as in x[None] and y[None]."
        )
