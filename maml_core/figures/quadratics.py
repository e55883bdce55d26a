"""The paper's Figure 1, computed: theta among the optima of three tasks."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..episodes import Episodes
from ..maml import Learner, adapt
from ..tasks import quadratics
from .style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_plane(ax: "Axes", tasks: Episodes, optima: Tensor, path: Tensor, phi: Tensor, concept: str = "maml") -> None:
    """Level lines of each task's loss, theta's path [n, 2], and an arrow from theta to each task's phi [T, 2]."""
    side = torch.linspace(-3.2, 3.2, 121)
    theta = torch.cartesian_prod(side, side)
    for i, task in enumerate(tasks):
        loss = ((theta @ task.support_x.T - task.support_y) ** 2).mean(-1).view(121, 121)
        ax.contour(side, side, loss.T, levels=[0.05, 0.25, 0.6], colors=COLOURS[f"task {i}"], linewidths=1, alpha=0.6)
        ax.plot(*optima[i], "*", color=COLOURS[f"task {i}"], ms=13, mec="white")
        ax.annotate(f"$\\theta^*_{i + 1}$", pair(optima[i]), (6, 6), textcoords="offset points", fontsize=12)
        arrow = {"arrowstyle": "-|>", "color": COLOURS[f"task {i}"], "lw": 2.2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", pair(phi[i]), pair(path[-1]), arrowprops=arrow)
    ax.plot(*path.T, color=COLOURS[concept], lw=2)
    ax.plot(*path[-1], "o", color=COLOURS[concept], ms=8, mec="white", zorder=4)
    ax.annotate("$\\theta$", pair(path[-1]), (8, -14), textcoords="offset points", fontsize=13, color=COLOURS[concept])
    ax.set(xlabel="first weight", ylabel="second weight", aspect="equal", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))


def pair(point: Tensor) -> tuple[float, float]:
    """A point [2] as numbers."""
    x, y = point.tolist()
    return x, y


def theta_between_tasks() -> "Figure":
    """The paper's Figure 1, computed: the loss after a step is lowest elsewhere than the loss before it."""
    import matplotlib.pyplot as plt

    optima = torch.tensor([[-1.9, 1.2], [2.0, 1.6], [0.6, -2.2]])
    curvatures = torch.tensor([[2.4, 1.4], [0.6, 0.3], [0.3, 0.6]])
    tasks = quadratics.plane_tasks(optima, curvatures, torch.tensor([0.5, 0.4, 0.6]))
    network = quadratics.plane_network((-2.8, -2.6))
    figure, axes = plt.subplots(1, 2, figsize=(8, 4.1))
    titles = ("Lowest loss before the step", "Lowest loss after it: MAML")
    for ax, steps, concept, title in zip(axes, (0, 1), ("baseline", "maml"), titles):
        path = quadratics.descend(Learner(network, 0.45, steps), tasks, iterations=3000)
        phi = adapt(Learner(network, 0.45, 1), {"theta": path[-1]}, tasks.support_x, tasks.support_y)["theta"]
        draw_plane(ax, tasks, optima, path, phi, concept)
        ax.set_title(title)
    return figure
