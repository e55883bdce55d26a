"""The paper's regression tasks (section 5.1): y = A sin(x - phase), A in U[0.1, 5], phase in U[0, pi]."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .episodes import Episodes

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)
X_RANGE = (-5.0, 5.0)


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


@dataclass(frozen=True)
class SinusoidTasks:
    """p(T) over sine waves: K support points and `queries` query points each, x in U[-5, 5].

    shots:    K, support points of a task
    queries:  query points of a task; the paper's code takes K
    x_range:  where support points fall. The paper's Figure 2 asks for all of them in one half, which is
              `(0, 5)` or `(-5, 0)`; query points always cover [-5, 5].
    """

    shots: int
    queries: int | None = None
    x_range: tuple[float, float] = X_RANGE

    def __post_init__(self) -> None:
        if self.shots < 1 or (self.queries is not None and self.queries < 1):
            raise ValueError(f"shots and queries must be at least 1, not {self.shots} and {self.queries}.")
        if not self.x_range[0] < self.x_range[1]:
            raise ValueError(f"x_range must go from a smaller to a larger number, not {self.x_range}.")

    def draw_waves(self, tasks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Amplitudes and phases (radians) of `tasks` waves, each [T, 1]."""
        return _uniform(*AMPLITUDE, (tasks, 1), generator), _uniform(*PHASE, (tasks, 1), generator)

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """`tasks` new waves: support_x [T, K, 1], support_y [T, K], query_x [T, Q, 1], query_y [T, Q]."""
        amplitude, phase = self.draw_waves(tasks, generator)
        return self.points_on(amplitude, phase, generator)

    def points_on(self, amplitude: Tensor, phase: Tensor, generator: torch.Generator) -> Episodes:
        """Episodes on given waves: amplitude and phase (radians) are [T, 1]."""
        queries = self.queries or self.shots
        support_x = _uniform(*self.x_range, (len(amplitude), self.shots), generator)
        query_x = _uniform(*X_RANGE, (len(amplitude), queries), generator)
        return Episodes(
            support_x[..., None], wave(support_x, amplitude, phase), query_x[..., None], wave(query_x, amplitude, phase)
        )


def wave(x: Tensor, amplitude: Tensor | float, phase: Tensor | float) -> Tensor:
    """A sin(x - phase), the paper's target function (x and phase in radians)."""
    return amplitude * torch.sin(x - phase)
