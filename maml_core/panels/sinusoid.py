"""One sine wave: MAML's initialization and a pretrained one adapt to the same points."""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from ..figures.style import COLOURS
from ..maml import Learner, adapt
from ..networks import Weights
from ..tasks.sinusoid import X_RANGE, SinusoidTasks, wave
from .base import Panel, as_error, own
from .controls import CountingButton, checkbox, float_slider, int_slider

GRID = torch.linspace(*X_RANGE, 201)


def wave_lines(ax: Axes, concept: str) -> dict[str, Line2D]:
    """Empty lines for a wave, its support points, and the predictions before and after the steps, with a legend."""
    lines = {
        "target": ax.plot([], [], color=COLOURS["target"], lw=1.5, ls=(0, (4, 2)), label="target")[0],
        "before": ax.plot([], [], color=COLOURS["before"], label="before")[0],
        "after": ax.plot([], [], color=COLOURS[concept], label="after the steps")[0],
        "support": ax.plot([], [], "^", color=COLOURS["support"], ms=7, mec="white", label="support", zorder=3)[0],
    }
    ax.set(xlabel="x", xlim=X_RANGE, ylim=(-7.8, 6.2))
    ax.legend(loc="lower center", ncols=4, fontsize=8, handlelength=1.5, columnspacing=1)
    return lines


class SinusoidPanel(Panel):
    """One sine wave: MAML's initialization and a pretrained one adapt to the same K points.

    maml, pretrained: theta of each; learner: network and inner loop (its alpha is where the slider starts).
    """

    MOST_SHOTS = 20

    def __init__(
        self, learner: Learner, maml: Weights, pretrained: Weights, seed: int = 0, state: Mapping[str, Any] | None = None
    ) -> None:
        self._learner = learner
        self._thetas = {"maml": own(maml), "baseline": own(pretrained)}
        self.seed = seed
        self.alpha = float_slider("alpha", learner.alpha, 0.001, 0.1, 0.001, trained=learner.alpha)
        self.shots = int_slider("K", 10, 1, self.MOST_SHOTS)
        self.steps = int_slider("steps", 1, 0, 10)
        self.amplitude = float_slider("amplitude", 3.0, 0.1, 5.0, 0.1)
        self.phase = float_slider("phase", 0.5, 0.0, 3.14, 0.02)
        self.new_points = CountingButton("new points", "draw other points of the same wave")
        self.left_half = checkbox("only the left half")
        controls = [self.alpha, self.shots, self.steps, self.amplitude, self.phase, self.new_points, self.left_half]
        super().__init__(controls, (8, 3.2), state)

    def build(self, figure: Figure) -> None:
        axes = figure.subplots(1, 2, sharey=True)
        self._lines: list[dict[str, Any]] = []
        for ax, concept in zip(axes, self._thetas):
            lines = wave_lines(ax, concept)
            for line in lines.values():
                self.moves(line)
            self._lines.append(lines | {"title": self.moving_title(ax)})
        axes[0].set_ylabel("y")

    def points(self) -> tuple[Tensor, Tensor]:
        """The support points, x [1, K, 1] and y [1, K]: more shots add points, and no other slider moves them."""
        amplitude, phase = (torch.tensor([[slider.value]]) for slider in (self.amplitude, self.phase))
        where = (X_RANGE[0], 0.0) if self.left_half.value else X_RANGE
        tasks = SinusoidTasks(self.MOST_SHOTS, 1, where)
        task = tasks.points_on(amplitude, phase, torch.Generator().manual_seed(self.seed + self.new_points.value))
        return task.support_x[:, : self.shots.value], task.support_y[:, : self.shots.value]

    def update(self) -> str:
        x, y = self.points()
        target = wave(GRID, self.amplitude.value, self.phase.value)
        learner = Learner(self._learner.network, self.alpha.value, self.steps.value)
        numbers = []
        for lines, theta, name in zip(self._lines, self._thetas.values(), ("MAML", "pretrained on all tasks")):
            errors = []
            for when, steps in (("before", 0), ("after", self.steps.value)):
                phi = adapt(learner, theta, x, y, steps)
                curve = learner.network.forward(phi, GRID[None, :, None])[0]
                lines[when].set_data(GRID, curve)
                errors.append(((curve - target) ** 2).mean().item())
            lines["target"].set_data(GRID, target)
            lines["support"].set_data(x[0, :, 0], y[0])
            lines["title"].set_text(f"{name}: error {errors[0]:.2f} → {as_error(errors[1])}")
            numbers.append(f"{name}: {errors[0]:.3f} → {as_error(errors[1], 3)}")
        return "mean squared error over the whole wave. " + "; ".join(numbers)
