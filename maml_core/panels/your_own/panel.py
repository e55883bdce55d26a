"""One wave, any module: pick an MLP, a conv net, a transformer or your own, and see it adapt."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ...figures.style import COLOURS
from ...maml import Learner, inner_loop
from ...networks import Weights
from ...tasks.sinusoid import SinusoidTasks, wave
from ..base import Panel, as_error, own
from ..controls import CountingButton, dropdown, float_slider, int_slider
from ..sinusoid import GRID, wave_lines


class ModulePanel(Panel):
    """One sine wave and K points of it: the chosen module before and after the inner steps, and its error after each.

    modules: {name: (learner, theta)}, networks that map x [T, B, 1] to predictions [T, B], such as those that
    `Network.from_module` makes; the first is shown first. Dropout is off. seed: of the points.
    """

    MOST_SHOTS, MOST_STEPS = 20, 6

    def __init__(
        self, modules: Mapping[str, tuple[Learner, Weights]], seed: int = 0, state: Mapping[str, Any] | None = None
    ) -> None:
        self._modules = {
            name: (replace(learner, network=learner.network.at_test()), own(theta))
            for name, (learner, theta) in modules.items()
        }
        self.seed = seed
        self._adapted: tuple[tuple, list[Tensor], Iterator[Weights]] = ((), [], iter(()))
        first = next(iter(self._modules))
        self.module = dropdown("module", list(self._modules), first)
        self.alpha = float_slider("alpha", self._modules[first][0].alpha, 0.001, 0.1, 0.001)
        self.shots = int_slider("K", 10, 1, self.MOST_SHOTS)
        self.steps = int_slider("steps", 3, 0, self.MOST_STEPS)
        self.amplitude = float_slider("amplitude", 3.0, 0.1, 5.0, 0.1)
        self.phase = float_slider("phase", 0.5, 0.0, 3.14, 0.02)
        self.new_points = CountingButton("new points", "draw other points of the same wave")
        controls = [self.module, self.alpha, self.shots, self.steps, self.amplitude, self.phase, self.new_points]
        super().__init__(controls, (8, 3.2), state)

    def build(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        lines = wave_lines(left, "maml") | {"errors": right.plot([], [], "o-", ms=5, color=COLOURS["maml"])[0]}
        left.set_ylabel("y")
        right.set(xlabel="steps", xlim=(-0.3, self.MOST_STEPS + 0.3), yscale="log", ylim=(0.003, 30))
        right.set_title("mean squared error")
        self._lines = {name: self.moves(line) for name, line in lines.items()}
        self._title = self.moving_title(left)

    def points(self) -> tuple[Tensor, Tensor]:
        """The support points, x [1, K, 1] and y [1, K]: more shots add points, and no other slider moves them."""
        amplitude, phase = (torch.tensor([[slider.value]]) for slider in (self.amplitude, self.phase))
        generator = torch.Generator().manual_seed(self.seed + self.new_points.value)
        task = SinusoidTasks(self.MOST_SHOTS, 1).points_on(amplitude, phase, generator)
        return task.support_x[:, : self.shots.value], task.support_y[:, : self.shots.value]

    def curves(self) -> list[Tensor]:
        """The module's predictions on GRID after 0, 1, .. steps, each [201]; only those that are new are computed."""
        learner, theta = self._modules[self.module.value]
        learner = replace(learner, alpha=self.alpha.value)
        controls = (self.module, self.alpha, self.shots, self.amplitude, self.phase, self.new_points)
        state = tuple(control.value for control in controls)
        if self._adapted[0] != state:
            self._adapted = (state, [], inner_loop(learner, theta, *self.points()))
        _, curves, after = self._adapted
        missing = [next(after) for _ in range(len(curves), self.steps.value + 1)]
        if missing:  # the steps take the task axis: one forward draws all of them
            frozen = learner.network.frozen
            phis = {n: w if n in frozen else torch.cat([phi[n] for phi in missing]) for n, w in missing[0].items()}
            curves += learner.network.forward(phis, GRID.expand(len(missing), -1)[..., None])
        return curves[: self.steps.value + 1]

    def update(self) -> str:
        (x, y), curves, name, steps = self.points(), self.curves(), self.module.value, self.steps.value
        self.alpha.trained = self._modules[name][0].alpha
        target = wave(GRID, self.amplitude.value, self.phase.value)
        errors = [((curve - target) ** 2).mean().item() for curve in curves]
        self._lines["target"].set_data(GRID, target)
        self._lines["before"].set_data(GRID, curves[0])
        self._lines["after"].set_data(GRID, curves[-1])
        self._lines["support"].set_data(x[0, :, 0], y[0])
        self._lines["errors"].set_data(range(steps + 1), errors)
        self._title.set_text(f"{name}, {steps} step{'s' * (steps != 1)}: error {errors[0]:.2f} → {as_error(errors[-1], 2)}")
        weights = sum(w.numel() for w in self._modules[name][1].values())
        told = f"{errors[0]:.3f} → {as_error(errors[-1], 3)}"
        return f"{name} ({weights:,} weights), mean squared error over the whole wave: {told}"
