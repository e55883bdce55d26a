"""The paper's Figure 1, computed: theta among the optima of three tasks."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..episodes import Episodes
from .style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_plane(ax: "Axes", tasks: Episodes, optima: Tensor, path: Tensor, phi: Tensor, concept: str = "maml") -> None:
    """Level lines of each task's loss, theta's path [n, 2], and an arrow from theta to each task's phi [T, 2]."""
    side = torch.linspace(-3.2, 3.2, 121)
    theta = torch.cartesian_prod(side, side)
    for i, task in enumerate(tasks):
        loss = ((theta @ task.support_x.T - task.support_y) ** 2).mean(-1).view(121, 121)
        ax.contour(side, side, loss.T, levels=[0.05, 0.25, 0.6], colors=COLOURS[f"task {i}"], linewidths=1, alpha=0.6)
        ax.plot(*optima[i], "*", color=COLOURS[f"task {i}"], ms=13, mec="white")
        ax.annotate(f"$\\theta^*_{i + 1}$", optima[i], (6, 6), textcoords="offset points", fontsize=12)
        arrow = {"arrowstyle": "-|>", "color": COLOURS[f"task {i}"], "lw": 2.2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", phi[i], path[-1], arrowprops=arrow)
    ax.plot(*path.T, color=COLOURS[concept], lw=2)
    ax.plot(*path[-1], "o", color=COLOURS[concept], ms=8, mec="white", zorder=4)
    ax.annotate("$\\theta$", path[-1], (8, -14), textcoords="offset points", fontsize=13, color=COLOURS[concept])
    ax.set(xlabel="first weight", ylabel="second weight", aspect="equal", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
