"""2-D navigation: move the goal, and two policies look for it by their rewards."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ..figures.navigation import paths
from ..figures.style import COLOURS
from ..networks import Weights
from ..rl.evaluation import halved
from ..rl.navigation import SIDE, Trajectories, draw_noise, roll_out, wander, with_goals
from ..rl.policy import navigation_policy
from ..rl.reinforce import as_batch, policy_step
from .base import Panel, own
from .controls import CountingButton, float_slider, int_slider


class NavigationPanel(Panel):
    """MAML's policy and a pretrained one act, take policy gradient steps, and act again, on one goal.

    Both adapt at once, as two tasks, and on the same noise, so that the picture depends on the controls only.
    maml, pretrained: theta of each; alpha: of the first step, the others are half as long.
    """

    TRAJECTORIES, DRAWN, STEPS = 20, 5, 3

    def __init__(
        self, maml: Weights, pretrained: Weights, alpha: float = 0.1, seed: int = 0,
        state: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._policy = navigation_policy()
        both = (own(maml), own(pretrained))
        self._theta = {name: torch.stack([theta[name] for theta in both]) for name in maml}
        self.seed = seed
        self._noise_of: int | None = None
        self._begun: tuple[int, tuple[float, float], float] | None = None
        self._before: np.ndarray | None = None
        self.goal_x = float_slider("goal x", 0.34, -SIDE, SIDE, 0.02)
        self.goal_y = float_slider("goal y", 0.26, -SIDE, SIDE, 0.02)
        self.steps = int_slider("steps", 1, 0, self.STEPS)
        self.alpha = float_slider("alpha", alpha, 0.01, 0.5, 0.01, trained=alpha)
        self.new_noise = CountingButton("new noise", "act and adapt on other random numbers")
        super().__init__([self.goal_x, self.goal_y, self.steps, self.alpha, self.new_noise], (8, 3.7), state)

    def build(self, figure: Figure) -> None:
        self._axes = []
        for ax, concept in zip(figure.subplots(1, 2, sharey=True), ("maml", "baseline")):
            lines = {
                "before": ax.add_collection(LineCollection([], colors=COLOURS["before"], lw=0.8, alpha=0.5)),
                "after": ax.add_collection(LineCollection([], colors=COLOURS[concept], lw=0.9, alpha=0.5, zorder=3)),
                "goal": ax.plot([], [], "*", color=COLOURS["target"], ms=14, mec="white", zorder=5)[0],
            }
            ax.plot([], [], color=COLOURS["before"], label="before")
            ax.plot([], [], color=COLOURS[concept], label="after the steps")
            ax.legend(loc="lower center", ncols=2, fontsize=8, handlelength=1.5)
            ax.set(xlabel="x", aspect="equal", xlim=(-0.9, 0.9), ylim=(-0.8, 0.7))
            for name, line in lines.items():
                self.moves(line, seldom=name == "before")
            self._axes.append(lines | {"title": self.moving_title(ax)})
        figure.axes[0].set_ylabel("y")

    def adapted(self) -> list[Trajectories]:
        """What both policies do on the goal before the first step and after each: T = 2. Results still valid are kept."""
        seed, alpha = self.seed + self.new_noise.value, self.alpha.value
        goal = (self.goal_x.value, self.goal_y.value)
        goals = torch.tensor([goal]).expand(2, 2)
        if seed != self._noise_of:
            generator = torch.Generator().manual_seed(seed)
            self._noises = [
                draw_noise(1, self.TRAJECTORIES, generator).expand(2, -1, -1, -1) for _ in range(self.STEPS + 1)
            ]
            self._noise_of = seed
            self._wandered = wander(self._policy, self._theta, self._noises[0])
        if (seed, goal, alpha) != self._begun:
            self._begun, self._phi, self._seen = (seed, goal, alpha), self._theta, [with_goals(*self._wandered, goals)]
        while (done := len(self._seen)) <= self.steps.value:
            size = halved(alpha, done)[-1]
            self._phi = policy_step(self._policy, self._phi, as_batch(self._seen[-1]), size)
            self._seen.append(roll_out(self._policy, self._phi, goals, self._noises[done]))
        return self._seen[: self.steps.value + 1]

    def update(self) -> str:
        seen = self.adapted()
        returns = [trajectories.returns().mean(1) for trajectories in seen]
        before, after = (paths(seen[place])[:, : self.DRAWN].numpy() for place in (0, -1))
        numbers, moved = [], self._before is None or not np.array_equal(before, self._before)
        self._before = before
        for i, (lines, name) in enumerate(zip(self._axes, ("MAML", "pretrained on all goals"))):
            if moved:
                lines["before"].set_segments(before[i])
            lines["after"].set_segments(after[i])
            lines["goal"].set_data([self.goal_x.value], [self.goal_y.value])
            lines["title"].set_text(f"{name}: return {returns[0][i]:.1f} → {returns[-1][i]:.1f}")
            numbers.append(f"{name}: " + " → ".join(f"{value[i]:.2f}" for value in returns))
        return f"average return of {self.TRAJECTORIES} trajectories ({self.DRAWN} are drawn), by steps. " + "; ".join(
            numbers
        )
