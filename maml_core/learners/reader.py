"""The base of learners that read the support set instead of taking gradients on it.

Instead of a gradient step, `step` reads the support set and adds what it computes to phi, as entries [T, ...] beside theta,
which all tasks share. Engines, checkpoints and evaluation need no changes, and nothing loops over tasks. The embedding h is
the output of the classifier's body: what the classifier would return if its last layer were the identity.

Support and query set are embedded separately, each with its own batch norm statistics, as in MAML's inner loop.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import linear
from ..maml import Learner
from ..modules import ModuleFunction
from ..networks import Network, Weights
from ..util.checks import at_least

Embed = Callable[..., Tensor]  # (weights, x [T, B, ...], **options of the network's forward) -> h [T, B, F]
ExtraWeights = Callable[[torch.Generator, int], Weights]
HEAD = ("w5", "b5")  # the last layer of networks.conv_network and mlp_network


@dataclass(frozen=True)
class Reader(Learner):
    """A learner that reads the support set instead of taking gradients on it; a subclass defines what it stores.

    embed: the meta-learned embedding, (weights, x [T, B, ...]) -> [T, B, F]. alpha, inner_loss and first_order concern
    gradients and have no effect. The first step reads the whole support set; further steps change nothing.
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
        """What to store for a support set with embeddings h [T, N*K, F] and one-hot labels [T, N*K, N]."""
        raise NotImplementedError


def split_body(network: Network, extra: ExtraWeights | None = None) -> tuple[Network, Embed]:
    """A classifier without its last layer, and its embedding. All its weights are meta-learned, and none adapts.

    extra: (generator, F) -> additional weights to meta-learn. They are drawn after the classifier's, so that with the same
    seed the body starts out equal to MAML's. Raises ValueError for a regression network, and for a module with dropout or
    with a last layer that is no nn.Linear.
    """
    if network.ways < 2:
        raise ValueError("Comparison with the support set needs classes, and regression has none: choose another variant.")
    weight, bias = HEAD
    if network.module is not None:
        return _split_module(network, network.module, extra)

    def embed(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        identity = torch.eye(features, dtype=x.dtype, device=x.device)
        return network.forward(weights | {weight: identity, bias: identity.new_zeros(features)}, x, **options)

    features = network.init(torch.Generator())[weight].shape[0]
    return _with_extra(network, HEAD, extra, features), embed


def _split_module(network: Network, module: ModuleFunction, extra: ExtraWeights | None) -> tuple[Network, Embed]:
    """`split_body` for a module: its head is replaced by nn.Identity, and HEAD follows."""
    if module.draws_random:
        raise ValueError("Comparison with the support set does not switch dropout off at test: set its rate to 0.")
    *_, head = network.layers or [()]
    body, features = module.without_head(head)

    def forward(weights: Weights, x: Tensor) -> Tensor:
        return linear(body.forward(weights, x), *(weights[name] for name in HEAD))

    unused = set(module.names) - set(body.names)  # a weight that the head shares with the body stays
    return _with_extra(replace(network, forward=forward, module=None), unused, extra, features), body.forward


def _with_extra(network: Network, head: Iterable[str], extra: ExtraWeights | None, features: int) -> Network:
    """The network with additional weights and without its head's, none of which adapts."""

    def init(generator: torch.Generator) -> Weights:
        theta = network.init(generator) | (extra(generator, features) if extra else {})
        return {name: w for name, w in theta.items() if name not in head}

    return replace(network, init=init, frozen=frozenset(init(torch.Generator())))


def uniform_until_read(network: Network, forward: Callable[..., Tensor], stored: str) -> Callable[..., Tensor]:
    """`forward`, but with equal logits for all classes until the support set has been read.

    stored: the name of an entry that reading adds to the weights.
    """

    def predict(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        if stored not in weights:
            return x.new_zeros(*x.shape[:2], network.ways)
        return forward(weights, x, **options)

    return predict
