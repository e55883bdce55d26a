"""MAML's variants, each defined only by how it differs from `maml.Learner`.

    first order   Finn et al. 2017, section 5.2    the inner gradient is a constant: Learner(first_order=True)
    ANIL          Raghu et al. 2020 (1909.09157)   only the head adapts (learners/adapting.py)
    Meta-SGD      Li et al. 2017 (1707.09835)      an alpha for every weight, meta-learned
    MAML++        Antoniou et al. 2019 (1810.09502)  a loss after every step, an alpha for every layer and step
    Reptile       Nichol et al. 2018 (1803.02999)  towards the adapted weights: no gradient through a gradient
    iMAML         Rajeswaran et al. 2019 (1909.04630)  implicit differentiation at the inner loop's end (learners/imaml.py)

What a variant meta-learns besides theta is stored in theta under names such as "alpha.w1", and is frozen in the inner
loop: Adam, engines and checkpoints treat it like any other weight.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..episodes import Episodes
from ..maml import Learner, adapt, inner_loop, support_gradient
from ..networks import Network, Weights
from ..util.checks import at_least
from .adapting import adapting


def adapt_head_only(network: Network) -> Network:
    """ANIL, "almost no inner loop": everything but the last layer's weight and bias is frozen, in training and at test."""
    return adapting(network, "head")


def adapt_everything(network: Network) -> Network:
    """For Reptile and iMAML, which learn from where the adapted weights end up: every weight must adapt, even beta."""
    return replace(network, frozen=frozenset())


def check_everything_adapts(network: Network, learner: str) -> None:
    """Raise ValueError, for a learner that learns from where the adapted weights end up, if a weight is frozen."""
    if network.frozen:
        raise ValueError(
            f"{learner} learns from where the adapted weights end up, so every weight must adapt, and this network freezes "
            f"{min(network.frozen)}: pass adapt_everything(network), of learners.variants."
        )


def with_alphas(network: Network, alpha: float, steps: int | None = None) -> Network:
    """The network with meta-learned alphas, all initialized to `alpha`.

    steps: None for one alpha per entry of a weight (Meta-SGD), else one per weight tensor and inner step.
    """

    def alphas(theta: Weights) -> Weights:
        adapted = {name: w for name, w in theta.items() if name not in network.frozen}
        shapes = {name: w.shape if steps is None else (steps,) for name, w in adapted.items()}
        return {f"alpha.{name}": w.new_full(shapes[name], alpha) for name, w in adapted.items()}

    def init(generator: torch.Generator) -> Weights:
        theta = network.init(generator)
        return theta | alphas(theta)

    names = alphas(network.init(torch.Generator()))
    return replace(network, init=init, frozen=network.frozen | names.keys())


@dataclass(frozen=True)
class MetaSGD(Learner):
    """phi = theta - alpha * grad L(theta) with a vector alpha, multiplied entry by entry (their equation 2)."""

    def step(self, phi: Weights, x: Tensor, y: Tensor, number: int = 0, start: Weights | None = None) -> Weights:
        gradient = support_gradient(self, phi, x, y)
        return phi | {name: phi[name] - phi[f"alpha.{name}"] * g for name, g in gradient.items()}


@dataclass(frozen=True)
class LearnedAlphas(Learner):
    """One alpha per layer and step (MAML++'s LSLR alone). Steps beyond those of training reuse the last step's alpha."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps)

    def step(self, phi: Weights, x: Tensor, y: Tensor, number: int = 0, start: Weights | None = None) -> Weights:
        gradient = support_gradient(self, phi, x, y)
        place = min(number, self.steps - 1)
        return phi | {name: phi[name] - phi[f"alpha.{name}"][place] * g for name, g in gradient.items()}


@dataclass(frozen=True)
class MAMLPlusPlus(LearnedAlphas):
    """One alpha per layer and step, and the query loss after every step (their LSLR and multi-step loss).

    importance: v_s, the weight of the query loss after step s; None weighs all equally. The authors shift it towards the
    last step in the course of training.
    """

    importance: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.importance is not None and len(self.importance) != self.steps:
            raise ValueError(f"importance must have a number for each of {self.steps} steps, not {self.importance}.")

    def losses(self, theta: Weights, episodes: Episodes) -> Tensor:
        total = torch.zeros(())
        after = inner_loop(self, theta, episodes.support_x, episodes.support_y)
        for v, phi in zip((0, *(self.importance or (1 / self.steps,) * self.steps)), after):
            if v:
                total = total + v * self.point_losses(phi, episodes.query_x, episodes.query_y).mean(-1)
        return total


def _all_points(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Support and query points as one set."""
    x, y = (episodes.support_x, episodes.query_x), (episodes.support_y, episodes.query_y)
    return torch.cat(x, 1), torch.cat(y, 1)


@dataclass(frozen=True)
class Reptile(Learner):
    """theta moves towards phi: the "gradient" is (theta - phi) / alpha, their section 3.

    It is divided by the number of steps as well, a factor that Adam cancels. Reptile has no query set, so it adapts to a
    task's support and query points together. The reported losses, however, are query losses after adapting to the support
    points alone, for comparison with MAML.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps)
        check_everything_adapts(self.network, "Reptile")

    def gradient_of_sum(self, theta: Weights, episodes: Episodes) -> tuple[Weights, Tensor]:
        phi = adapt(self, theta, *_all_points(episodes))
        gradient = {name: (theta[name] - phi[name]).sum(0) / (self.alpha * self.steps) for name in theta}
        return gradient, self.losses(theta, episodes)
