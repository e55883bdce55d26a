"""iMAML (Rajeswaran et al. 2019, 1909.04630): implicit differentiation at the end of the inner loop."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..episodes import Episodes
from ..maml import Learner, adapt, support_gradient
from ..networks import Weights
from ..second_order import conjugate_gradients
from ..util.checks import at_least, positive
from .variants import check_everything_adapts


@dataclass(frozen=True)
class IMAML(Learner):
    """The inner loop is regularized towards theta, and the meta-gradient depends only on where it ends.

        phi  minimizes  L(phi) + strength / 2 |phi - theta|^2                      (their equation 3)
        d L'(phi) / d theta  =  (I + H(phi) / strength)^-1  grad L'(phi)           (their lemma 1)

    The inverse is never formed: `solves` iterations of conjugate gradients, each with one Hessian-vector product
    (chapter 2), solve for the product. No inner step has to be stored, so memory does not grow with their number.
    """

    strength: float = 2.0
    solves: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(strength=self.strength)
        at_least(1, steps=self.steps, solves=self.solves)
        check_everything_adapts(self.network, "iMAML")

    def step(self, phi: Weights, x: Tensor, y: Tensor, number: int = 0, start: Weights | None = None) -> Weights:
        if start is None:
            raise ValueError("iMAML's inner step is pulled towards theta: pass start, theta for every task, not None.")
        gradient = support_gradient(self, phi, x, y)
        pulled = {name: g + self.strength * (phi[name] - start[name]) for name, g in gradient.items()}
        return phi | {name: phi[name] - self.alpha * g for name, g in pulled.items()}

    def gradient_of_sum(self, theta: Weights, episodes: Episodes) -> tuple[Weights, Tensor]:
        x, y = episodes.support_x, episodes.support_y
        with torch.no_grad():
            phi = adapt(self, theta, x, y)

        def query_loss(weights: Weights) -> tuple[Tensor, Tensor]:
            losses = self.point_losses(weights, episodes.query_x, episodes.query_y).mean(-1)
            return losses.sum(), losses

        def damped(v: Weights) -> Weights:
            """(I + H / strength) v for each task: the Hessian of the sum is block-diagonal, one block per task."""
            product = torch.func.jvp(lambda weights: support_gradient(self, weights, x, y), (phi,), (v,))[1]
            return {name: v[name] + product[name] / self.strength for name in v}

        g, losses = torch.func.grad(query_loss, has_aux=True)(phi)
        solved = conjugate_gradients(damped, g, self.solves)
        return {name: w.sum(0) for name, w in solved.items()}, losses
