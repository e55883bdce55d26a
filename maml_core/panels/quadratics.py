"""Two tasks in a plane: the meta-gradients of MAML, first-order MAML and Reptile, and what curvature does to them."""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..figures.style import COLOURS
from ..tasks.quadratics import directions, plane_tasks
from .base import Panel
from .controls import float_slider, int_slider

OPTIMA = torch.tensor([[-1.6, 1.0], [1.8, 0.6]])
ANGLES = torch.tensor([0.5, -0.9])
SIDE = 2.5
LONGEST = 8.0  # times MAML's length: a longer bar ends there, with a mark
METHODS = {"MAML": COLOURS["maml"], "first order": COLOURS["first order"], "Reptile": COLOURS["reptile"]}


class PlanePanel(Panel):
    """theta among the optima of two tasks with quadratic losses, whose Hessians the sliders set.

    The arrows are the directions in which each method moves theta: minus the mean of its meta-gradients. They
    coincide where the curvature is small compared with 1 / alpha, since they differ only through (I - alpha H).
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self.alpha = float_slider("alpha", 0.6, 0.01, 1.0, 0.01)
        self.steps = int_slider("steps", 1, 1, 5)
        self.curvature_1 = float_slider("curvature 1", 2.4, 0.02, 2.4, 0.02)
        self.curvature_2 = float_slider("curvature 2", 0.8, 0.02, 2.4, 0.02)
        self.theta_1 = float_slider("theta 1", 0.5, -SIDE, SIDE, 0.1)
        self.theta_2 = float_slider("theta 2", -1.0, -SIDE, SIDE, 0.1)
        controls = [self.alpha, self.steps, self.curvature_1, self.curvature_2, self.theta_1, self.theta_2]
        super().__init__(controls, (8, 4.2), state)

    def build(self, figure: Figure) -> None:
        plane, bars = figure.subplots(1, 2, width_ratios=[1.5, 1])
        plane.set(xlabel="first weight", ylabel="second weight", aspect="equal", xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE))
        circle = torch.linspace(0, 2 * torch.pi, 73)
        self._circle = torch.stack([circle.cos(), circle.sin()], -1)
        self._levels = []
        for i, optimum in enumerate(OPTIMA):
            colour = COLOURS[f"task {i}"]
            plane.plot(*optimum, "*", color=colour, ms=13, mec="white")
            plane.annotate(f"$\\theta^*_{i + 1}$", optimum, (7, 5), textcoords="offset points", fontsize=12)
            for _ in range(2):
                self._levels.append((i, self.moves(plane.plot([], [], color=colour, lw=1, alpha=0.6)[0])))
        self._adapted = [self.moves(plane.plot([], [], "o-", color=COLOURS[f"task {i}"], ms=4, lw=1.2)[0]) for i in (0, 1)]
        self._arrows = {}
        for place, (method, colour) in enumerate(METHODS.items()):
            self._arrows[method] = self.moves(
                plane.quiver([0.0], [0.0], [0.0], [0.0], color=colour, angles="xy", scale_units="xy", scale=1,
                             width=0.011 - 0.002 * place, zorder=4 + place)
            )  # fmt: skip
        self._theta = self.moves(plane.plot([], [], "o", color="#000000", ms=7, mec="white", zorder=9)[0])
        self._plane_title = self.moving_title(plane)
        self._bars = [self.moves(bar) for bar in bars.barh(list(METHODS), [0, 0, 0], color=list(METHODS.values()))]
        self._ratios = [self.moves(bars.text(0, place, " ", va="center", in_layout=False)) for place in range(len(METHODS))]
        bars.invert_yaxis()
        bars.grid(axis="y", visible=False)
        bars.set(xlim=(0, 1.25 * LONGEST), xticks=range(0, 9, 2), xlabel="length of the step, MAML's is 1")
        self._bars_title = self.moving_title(bars)

    def directions(self) -> tuple[dict[str, Tensor], Tensor]:
        """Minus each method's meta-gradient at theta, [2], and the tasks' paths of adaptation [steps + 1, T, 2]."""
        start = (self.theta_1.value, self.theta_2.value)
        largest = torch.tensor([self.curvature_1.value, self.curvature_2.value])
        tasks = plane_tasks(OPTIMA, torch.stack([largest, 0.3 * largest], -1), ANGLES)
        return directions(tasks, torch.tensor(start), self.alpha.value, self.steps.value)

    def update(self) -> str:
        found, path = self.directions()
        lengths = {method: d.norm().item() for method, d in found.items()}
        cosines = {m: torch.cosine_similarity(d, found["MAML"], dim=0).item() for m, d in found.items()}
        for method, arrow in self._arrows.items():
            arrow.set_offsets(path[0, 0][None])
            # The bars compare lengths; the arrows show directions only, so that a short one is visible, too.
            arrow.set_UVC(*(1.2 * found[method] / max(lengths[method], 1e-9))[:, None])
        self._theta.set_data([self.theta_1.value], [self.theta_2.value])
        for i, line in enumerate(self._adapted):
            line.set_data(*path[:, i].T)
        curvatures = (self.curvature_1.value, self.curvature_2.value)
        for number, (i, line) in enumerate(self._levels):
            radii = (2 * (0.1, 0.5)[number % 2] / (curvatures[i] * torch.tensor([1.0, 0.3]))).sqrt()
            cos, sin = ANGLES[i].cos(), ANGLES[i].sin()
            turn = torch.stack([cos, sin, -sin, cos]).view(2, 2)
            line.set_data(*(self._circle * radii @ turn + OPTIMA[i]).T)
        ratios = {method: length / max(lengths["MAML"], 1e-9) for method, length in lengths.items()}
        for bar, text, ratio in zip(self._bars, self._ratios, ratios.values()):
            bar.set_width(min(ratio, LONGEST))
            text.set_x(min(ratio, LONGEST) + 0.15)
            text.set_text(("▸ " if ratio > LONGEST else "") + (f"{ratio:.2f}" if ratio < 100 else "> 100"))
        angle = torch.tensor(cosines["first order"]).clamp(-1, 1).arccos().rad2deg().item()
        self._plane_title.set_text(f"MAML and first order part by {angle:.0f} degrees")
        self._bars_title.set_text(f"first order is {ratios['first order']:.2f} times as long")
        told = ", ".join(f"{method} {cosines[method]:.3f}" for method in ("first order", "Reptile"))
        sharpest = self.alpha.value * max(curvatures)
        return f"cosine to MAML's meta-gradient: {told}; alpha times the largest curvature: {sharpest:.2f}"
