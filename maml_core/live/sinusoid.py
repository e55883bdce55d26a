"""One sine wave, live: MAML's initialization and a pretrained one adapt to points that can be dragged."""

import base64
from typing import Any

import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from ..figures.sinusoid import draw_adaptation
from ..maml import Learner, adapt
from ..networks import Weights, sinusoid_network
from ..recipes import find_recipe
from ..results.shipped import load_shipped
from ..tasks.sinusoid import AMPLITUDE, X_RANGE, wave
from .base import Live, bundle, number

MOST_SHOTS = 20
GRID = torch.linspace(*X_RANGE, 201)
TALL = (-6.4, 6.4)  # the plot's y
HALVES = {"both": X_RANGE, "left": (X_RANGE[0], 0.0), "right": (0.0, X_RANGE[1])}


class LiveSinusoid(Live):
    """MAML's theta and a pretrained one adapt to the same K points of a wave, computed in the browser.

    alpha, steps, shots: the inner loop, and K. amplitude, phase: the wave's. half: where the points lie, "both",
    "left" or "right". places: each point's place in that part, 0 to 1; offsets: how far above the wave it is, as far as
    the plot reaches.
    """

    _esm = bundle("network", "parts", "plot", "sinusoid")
    ALT = "A sine wave, support points on it, and what MAML and a pretrained network make of them in a few gradient steps"
    CONCEPTS = ("before", "maml", "baseline")

    alpha = number(traitlets.Float, 0.01, 0.001, 0.1, 0.001)
    steps = number(traitlets.Int, 1, 0, 10, 1)
    shots = number(traitlets.Int, 10, 1, MOST_SHOTS, 1)
    amplitude = number(traitlets.Float, 3.0, *AMPLITUDE, 0.1)
    phase = number(traitlets.Float, 0.5, 0.0, 3.14, 0.02)
    half = traitlets.Enum(list(HALVES), "both").tag(sync=True)
    places = traitlets.List(traitlets.Float(min=0, max=1), minlen=MOST_SHOTS, maxlen=MOST_SHOTS).tag(sync=True)
    offsets = traitlets.List(traitlets.Float(), [0.0] * MOST_SHOTS, MOST_SHOTS, MOST_SHOTS).tag(sync=True)
    thetas = traitlets.Dict().tag(sync=True)  # {concept: its numbers as base64}
    trained_alpha = traitlets.Float().tag(sync=True)

    def __init__(self, maml: Weights | None = None, pretrained: Weights | None = None, seed: int = 0, **state: Any) -> None:
        """maml, pretrained: theta of `sinusoid_network`, by default the shipped ones. seed: of the places.

        Raises ValueError for weights of another network, TraitError for a value out of range.
        """
        self._weights = {
            concept: {name: w.detach().clone() for name, w in (theta or load_shipped(shipped)[0]).items()}
            for concept, theta, shipped in (
                ("maml", maml, "sinusoid-10shot"), ("baseline", pretrained, "sinusoid-pretrained"),
            )
        }  # fmt: skip
        places = torch.rand(MOST_SHOTS, generator=torch.Generator().manual_seed(seed)).tolist()
        super().__init__(
            **{"places": places} | state,
            thetas={concept: pack(theta) for concept, theta in self._weights.items()},
            trained_alpha=find_recipe("sinusoid-10shot").alpha,
        )

    def points(self) -> tuple[Tensor, Tensor]:
        """The support points, x [1, K, 1] and y [1, K]."""
        low, high = HALVES[self.half]
        places, offsets = torch.tensor([self.places, self.offsets])[:, None, : self.shots]
        x = low + (high - low) * places
        return x[..., None], (wave(x, self.amplitude, self.phase) + offsets).clamp(*TALL)

    def target(self) -> Tensor:
        """The wave on GRID, [201]."""
        return wave(GRID, self.amplitude, self.phase)

    def curves(self, concept: str) -> dict[int, Tensor]:
        """The network on GRID by inner steps: before the first and after the last. concept: "maml" or "baseline"."""
        (x, y), learner = self.points(), Learner(sinusoid_network(), self.alpha, self.steps)
        phis = {steps: adapt(learner, self._weights[concept], x, y, steps) for steps in (0, self.steps)}
        return {steps: learner.network.forward(phi, GRID[None, :, None])[0] for steps, phi in phis.items()}

    def errors(self, concept: str) -> tuple[float, float]:
        """The mean squared error over the whole wave before and after the steps, computed here as the browser does."""
        curves = self.curves(concept)
        before, after = (((curves[steps] - self.target()) ** 2).mean().item() for steps in (0, self.steps))
        return before, after

    def draw(self, figure: Figure) -> None:
        x, y = self.points()
        axes = figure.subplots(1, 2, sharey=True)
        for ax, concept, name in zip(axes, self._weights, ("MAML", "pretrained")):
            draw_adaptation(ax, GRID, self.target(), self.curves(concept), x[0, :, 0], y[0], concept)
            before, after = self.errors(concept)
            ax.set_title(f"{name}: error {before:.2f} → {after:.2f}")
            ax.legend(ncols=4, loc="lower center", fontsize=8)
        axes[1].set_ylabel("")


def pack(theta: Weights) -> str:
    """theta's numbers as base64 of little-endian float32, in `sinusoid_network`'s order; network.js unpacks them."""
    shapes = {name: w.shape for name, w in sinusoid_network().init(torch.Generator()).items()}
    found = {name: w.shape for name, w in theta.items()}
    if found != shapes:
        told = ", ".join(f"{name} {tuple(shape)}" for name, shape in found.items())
        raise ValueError(
            f"The panel computes the paper's 1-40-40-1 network, not {told}: pass sinusoid_network()'s weights."
        )
    numbers = torch.cat([theta[name].flatten() for name in shapes]).float().cpu().numpy()
    return base64.b64encode(numbers.astype(np.dtype("<f4")).tobytes()).decode()
