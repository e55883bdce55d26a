"""Live panels: sliders, one picture, one line of numbers.

A panel is an ipywidgets box around an `Image`. Beside the widget it offers that image as a PNG, so one output
serves JupyterLab with a kernel, JupyterLab without, and GitHub. Each is bound to what its constructor got; it
reads nothing of the notebook, so a later cell cannot break it.
"""

import base64
import io
from typing import Any

import ipywidgets as widgets
import matplotlib
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from .characters import CharacterTasks
from .figures import draw_adaptation, draw_predictions, picture_sheet
from .figures.omniglot import label_rows, show_sheet
from .figures.style import RC
from .maml import Learner, adapt
from .networks import Weights
from .sinusoid import SinusoidTasks, wave


class Panel(widgets.VBox):
    """Controls above a picture; a subclass says what they are and draws."""

    def __init__(self, controls: list[widgets.ValueWidget], size: tuple[float, float]) -> None:
        self._size = size
        self.image = widgets.Image(format="png", layout=widgets.Layout(width=f"{int(100 * size[0])}px", max_width="100%"))
        self.text = widgets.HTML()
        rows = [widgets.HBox(controls, layout=widgets.Layout(flex_flow="row wrap")), self.image, self.text]
        super().__init__(rows)
        for control in controls:
            control.observe(lambda change: self.redraw(), "value")
        self.redraw()

    def draw(self, figure: Figure) -> str:
        """Draw the present state and return the line of numbers below."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Bring picture and numbers up to date with the controls."""
        with matplotlib.rc_context(RC):
            figure = Figure(figsize=self._size, dpi=100)
            self.text.value = self.draw(figure)
            png = io.BytesIO()
            FigureCanvasAgg(figure).print_png(png)
        self.image.value = png.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        bundle["text/plain"] = f"{type(self).__name__}: run this cell in JupyterLab to move its sliders"
        bundle["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle


def _slider(kind: type, name: str, value: float, low: float, high: float, step: float) -> Any:
    layout = widgets.Layout(width="250px")
    style = {"description_width": "70px"}
    extra = {"readout_format": ".3f" if step < 0.01 else ".2f"} if kind is widgets.FloatSlider else {}
    return kind(description=name, value=value, min=low, max=high, step=step, layout=layout, style=style, **extra)


class SinusoidPanel(Panel):
    """One sine wave: MAML's initialization and a pretrained one adapt to the same K points.

    maml, pretrained: theta of each; learner: network and inner loop (its alpha is where the slider starts).
    """

    MOST_SHOTS = 20

    def __init__(self, learner: Learner, maml: Weights, pretrained: Weights, seed: int = 0) -> None:
        self._learner = learner
        self._thetas = {"maml": _own(maml), "baseline": _own(pretrained)}
        self._seed = seed
        self.alpha = _slider(widgets.FloatSlider, "alpha", learner.alpha, 0.001, 0.1, 0.001)
        self.shots = _slider(widgets.IntSlider, "K", 10, 1, self.MOST_SHOTS, 1)
        self.steps = _slider(widgets.IntSlider, "steps", 1, 0, 10, 1)
        self.amplitude = _slider(widgets.FloatSlider, "amplitude", 3.0, 0.1, 5.0, 0.1)
        self.phase = _slider(widgets.FloatSlider, "phase", 0.5, 0.0, 3.14, 0.02)
        super().__init__([self.alpha, self.shots, self.steps, self.amplitude, self.phase], (8, 3.2))

    def draw(self, figure: Figure) -> str:
        amplitude, phase = (torch.tensor([[slider.value]]) for slider in (self.amplitude, self.phase))
        # The same generator each time: more shots add points, and no other slider moves them.
        points = SinusoidTasks(self.MOST_SHOTS, 1).points_on(amplitude, phase, torch.Generator().manual_seed(self._seed))
        x, y = points.support_x[:, : self.shots.value], points.support_y[:, : self.shots.value]
        grid = torch.linspace(-5, 5, 201)
        target = wave(grid, amplitude[0], phase[0])
        learner = Learner(self._learner.network, self.alpha.value, self.steps.value)
        axes = figure.subplots(1, 2, sharey=True)
        numbers = []
        for ax, (concept, theta), title in zip(axes, self._thetas.items(), ("MAML", "pretrained on all tasks")):
            curves = {}
            for steps in sorted({0, self.steps.value}):
                phi = adapt(learner, theta, x, y, steps)
                curves[steps] = learner.network.forward(phi, grid[None, :, None])[0]
            draw_adaptation(ax, grid, target, curves, x[0, :, 0], y[0], concept)
            ax.legend(loc="lower center", ncols=4, fontsize=8, handlelength=1.5, columnspacing=1)
            before, after = (((curves[s] - target) ** 2).mean().item() for s in (0, self.steps.value))
            ax.set_title(f"{title}: error {before:.2f} → {after:.2f}")
            numbers.append(f"{title}: {before:.3f} → {after:.3f}")
        axes[1].set_ylabel("")
        return "mean squared error over the whole wave. " + "; ".join(numbers)


class EpisodePanel(Panel):
    """One N-way task of characters: its queries before and after adaptation.

    learner, theta: the network, the inner loop (its alpha is where the slider starts) and the initialization.
    images: uint8 [C, D, 28, 28]; the task is the one that `seed` draws.
    """

    MOST_SHOTS, QUERIES = 5, 6

    def __init__(self, learner: Learner, theta: Weights, images: Tensor, steps: int = 3, seed: int = 0) -> None:
        self._learner, self._theta = learner, _own(theta)
        generator = torch.Generator().manual_seed(seed)
        ways = learner.network.ways
        self._task = CharacterTasks(images, ways, self.MOST_SHOTS, self.QUERIES).sample(1, generator)
        self.alpha = _slider(widgets.FloatSlider, "alpha", learner.alpha, 0.01, 2.0, 0.01)
        self.shots = _slider(widgets.IntSlider, "K", 1, 1, self.MOST_SHOTS, 1)
        self.steps = _slider(widgets.IntSlider, "steps", steps, 0, 10, 1)
        super().__init__([self.alpha, self.shots, self.steps], (8, 2.7))

    def _support(self) -> tuple[Tensor, Tensor]:
        """The first K drawings of each class: [1, N*K, 1, 28, 28] and [1, N*K]."""
        ways = self._learner.network.ways
        x, y = (t.unflatten(1, (ways, -1))[:, :, : self.shots.value].flatten(1, 2)
                for t in (self._task.support_x, self._task.support_y))  # fmt: skip
        return x, y

    def draw(self, figure: Figure) -> str:
        learner = Learner(self._learner.network, self.alpha.value, self.steps.value, self._learner.inner_loss)
        x, y = self._support()
        query_x, query_y, ways = self._task.query_x, self._task.query_y[0], learner.network.ways
        axes = figure.subplots(1, 3, width_ratios=[self.MOST_SHOTS, self.QUERIES, self.QUERIES])
        _draw_support(axes[0], x[0, :, 0].unflatten(0, (ways, -1)), self.MOST_SHOTS)
        numbers = []
        for ax, steps in zip(axes[1:], (0, self.steps.value)):
            phi = adapt(learner, self._theta, x, y, steps)
            predicted = learner.network.forward(phi, query_x)[0].argmax(-1)
            draw_predictions(ax, query_x[0], query_y, predicted, ways)
            ax.set_yticks([])
            numbers.append((predicted == query_y).float().mean().item())
            after = f"{steps} step{'s' * (steps > 1)} of {learner.alpha:.2f}" if steps else "no step"
            ax.set_title(f"{after}: {100 * numbers[-1]:.0f}% right")
        return f"query accuracy {100 * numbers[0]:.1f}% → {100 * numbers[1]:.1f}% ({len(query_y)} pictures)"


def _own(theta: Weights) -> Weights:
    """A copy, so that what a later cell does to theta does not move the panel."""
    return {name: w.clone() for name, w in theta.items()}


def _draw_support(ax: Any, pictures: Tensor, columns: int) -> None:
    """Support pictures [N, K, 28, 28], padded with white to `columns`, so that the layout stays as K moves."""
    white = torch.zeros(len(pictures), columns - pictures.shape[1], *pictures.shape[2:])
    show_sheet(ax, picture_sheet(torch.cat([pictures, white], 1)))
    label_rows(ax, len(pictures), pictures.shape[-1] + 8)
    ax.set_title("support")
