"""The paper's regression tasks (section 5.1): y = A sin(x - phase), A in U[0.1, 5], phase in U[0, pi]."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..episodes import Episodes, query_points
from ..util.checks import at_least

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)
X_RANGE = (-5.0, 5.0)


def _between(low: float, high: float, unit: Tensor) -> Tensor:
    """Numbers of [0, 1), stretched to [low, high)."""
    return low + (high - low) * unit


def _rand(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


@dataclass(frozen=True)
class SinusoidTasks:
    """p(T) over sine waves: K support points and `queries` query points each, x in U[-5, 5].

    shots:    K, support points of a task
    queries:  query points of a task; the paper's code takes K
    x_range:  where support points fall. The paper's Figure 2 asks for all of them in one half, which is
              `(0, 5)` or `(-5, 0)`; query points always cover [-5, 5].
    tells_wave:  the paper's oracle: amplitude and phase are inputs too, so x is [T, K, 3] instead of [T, K, 1]
    """

    shots: int
    queries: int | None = None
    x_range: tuple[float, float] = X_RANGE
    tells_wave: bool = False

    def __post_init__(self) -> None:
        at_least(1, shots=self.shots, queries=self.queries)
        if not -math.inf < self.x_range[0] < self.x_range[1] < math.inf:
            raise ValueError(f"x_range must go from a smaller to a larger number, not {self.x_range}.")

    def draw_waves(self, tasks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Amplitudes and phases (radians) of `tasks` waves, each [T, 1]."""
        amplitude = _between(*AMPLITUDE, _rand((tasks, 1), generator))
        return amplitude, _between(*PHASE, _rand((tasks, 1), generator))

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """`tasks` new waves: support_x [T, K, 1], support_y [T, K], query_x [T, Q, 1], query_y [T, Q]."""
        at_least(1, tasks=tasks)
        return self.build(_rand((self.count(tasks),), generator), tasks)

    def count(self, tasks: int) -> int:
        """How many random numbers `tasks` tasks take: amplitude, phase, and an x for each point."""
        return tasks * (2 + self.shots + query_points(self.shots, self.queries))

    def build(self, numbers: Tensor, tasks: int) -> Episodes:
        """The tasks that `count(tasks)` numbers of [0, 1) stand for; without a generator, so it can be compiled."""
        queries = query_points(self.shots, self.queries)
        parts = numbers.split([tasks, tasks, tasks * self.shots, tasks * queries])
        amplitude, phase, support_x, query_x = (part.view(tasks, -1) for part in parts)
        return self._episodes(_between(*AMPLITUDE, amplitude), _between(*PHASE, phase), support_x, query_x)

    def points_on(self, amplitude: Tensor, phase: Tensor, generator: torch.Generator) -> Episodes:
        """Episodes on given waves: amplitude and phase (radians) are [T, 1]."""
        shapes = ((len(amplitude), points) for points in (self.shots, query_points(self.shots, self.queries)))
        return self._episodes(amplitude, phase, *(_rand(shape, generator) for shape in shapes))

    def _episodes(self, amplitude: Tensor, phase: Tensor, support_x: Tensor, query_x: Tensor) -> Episodes:
        support_x, query_x = _between(*self.x_range, support_x), _between(*X_RANGE, query_x)

        def inputs(x: Tensor) -> Tensor:
            told = (amplitude, phase) if self.tells_wave else ()
            return torch.stack([x, *(value.expand_as(x) for value in told)], -1)

        return Episodes(
            inputs(support_x), wave(support_x, amplitude, phase), inputs(query_x), wave(query_x, amplitude, phase)
        )


def wave(x: Tensor, amplitude: Tensor | float, phase: Tensor | float) -> Tensor:
    """A sin(x - phase), the paper's target function (x and phase in radians)."""
    return amplitude * torch.sin(x - phase)
