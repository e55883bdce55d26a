"""Learners that read the support set instead of taking gradients on it: what all of them share.

A gradient step becomes one look at the support set: `step` reads it and writes what it found into phi [T, ...], beside
theta, which all tasks share. Engines, checkpoints and evaluation know nothing of it, and no line loops over tasks.
The embedding h is the classifier's body: what it would answer if its last layer were the identity.

Support and query set are embedded apart, each with batch norm's statistics of its own, as in MAML's inner loop.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..maml import Learner
from ..networks import Network, Weights
from ..util.checks import at_least

Embed = Callable[..., Tensor]  # (weights, x [T, B, ...], **options of the network's forward) -> h [T, B, F]
More = Callable[[torch.Generator, int], Weights]
HEAD = ("w5", "b5")  # the last layer of networks.conv_network and mlp_network


@dataclass(frozen=True)
class Reader(Learner):
    """A learner that reads the support set instead of taking gradients on it; a subclass says what it keeps.

    embed: the meta-learned embedding, (weights, x [T, B, ...]) -> [T, B, F]. Alpha, inner loss and first order, which
    belong to gradients, are without meaning. One step reads everything, and further ones find nothing new.
    """

    embed: Embed = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps)

    def step(self, phi: Weights, x: Tensor, y: Tensor, number: int = 0, start: Weights | None = None) -> Weights:
        if number:
            return phi
        h = self.embed(phi, x)
        return phi | self.read(phi, h, F.one_hot(y, self.network.ways).to(h))

    def read(self, phi: Weights, h: Tensor, labels: Tensor) -> Weights:
        """What is kept of a support set: embeddings h [T, N*K, F] and labels as one-hot rows [T, N*K, N]."""
        raise NotImplementedError


def take_body(network: Network, more: More | None = None) -> tuple[Network, Embed]:
    """A classifier without its last layer, and its embedding. All of its weights are meta-learned, and none adapts.

    more: (generator, F) -> further weights to meta-learn. They are drawn after the classifier's, so that from the same
    seed the body starts as MAML's does. Raises ValueError for a regression.
    """
    if network.ways < 2:
        raise ValueError("Comparing with the support set needs classes, and a regression has none: choose another variant.")
    weight, bias = HEAD

    def init(generator: torch.Generator) -> Weights:
        theta = network.init(generator) | (more(generator, features) if more else {})
        return {name: w for name, w in theta.items() if name not in HEAD}

    def embed(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        identity = torch.eye(features, dtype=x.dtype, device=x.device)
        return network.forward(weights | {weight: identity, bias: identity.new_zeros(features)}, x, **options)

    features = network.init(torch.Generator())[weight].shape[0]
    names = init(torch.Generator()).keys()
    return replace(network, init=init, frozen=frozenset(names)), embed


def answer_once_read(network: Network, forward: Callable[..., Tensor], written: str) -> Callable[..., Tensor]:
    """`forward`, and before the support set is read the same answer for every class.

    written: a weight that reading writes.
    """

    def answer(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        if written not in weights:
            return x.new_zeros(*x.shape[:2], network.ways)
        return forward(weights, x, **options)

    return answer
