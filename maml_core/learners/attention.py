"""A model-based learner: one network reads the labelled support set into a memory and then the query, and answers.

The idea of memory-augmented networks (Santoro et al. 2016, the paper's MANN) with attention for the memory, as in SNAIL
(Mishra et al. 2018, 1707.03141). Nothing tells it that a task is to be learned by comparing, or by gradients: how to
learn is what meta-learning puts into its weights. A point is a token [h, label], h the embedding, the label a one-hot
row; the query's label is left at 0. Each of two blocks lets a token look at the support tokens:

    token <- [token, softmax(token Q (tokens K)^T / sqrt(d)) tokens V]

Support tokens look at one another, the query looks at them. So all that reading has to keep is both blocks' keys and
values [T, N*K, d]: the memory. Tokens carry no positions, since the support set has no order.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..layers import glorot, linear, product
from ..networks import Network, Weights
from .reader import Reader, answer_once_read, take_body

WIDTH = 64  # d: of keys and values
BLOCKS = (1, 2)


@dataclass(frozen=True)
class Memory(Reader):
    """Reads the support set into keys and values, from which `recall` answers."""

    def read(self, phi: Weights, h: Tensor, labels: Tensor) -> Weights:
        tokens = torch.cat([h, labels], -1)
        memory: Weights = {}
        for i in BLOCKS:
            memory |= {f"keys{i}": product(tokens, phi[f"key{i}"]), f"values{i}": product(tokens, phi[f"value{i}"])}
            tokens = look(phi | memory, tokens, i)
        return memory


def look(weights: Weights, tokens: Tensor, block: int) -> Tensor:
    """Tokens [T, B, C] with what each finds in the memory behind it, [T, B, C + d]."""
    asked = product(tokens, weights[f"query{block}"])
    attention = (product(asked, weights[f"keys{block}"].mT) / math.sqrt(asked.shape[-1])).softmax(-1)  # [T, B, N*K]
    return torch.cat([tokens, product(attention, weights[f"values{block}"])], -1)


def recall(weights: Weights, h: Tensor, ways: int) -> Tensor:
    """The logits of query points h [T, B, F], each by itself: [T, B, N]."""
    tokens = torch.cat([h, h.new_zeros(*h.shape[:-1], ways)], -1)
    for i in BLOCKS:
        tokens = look(weights, tokens, i)
    return linear(tokens, weights["out"], weights["bias"])


def memory(network: Network, *settings: Any) -> Memory:
    """The classifier's body, two blocks of attention, and a last layer of their own."""

    def more(generator: torch.Generator, features: int) -> Weights:
        theta, size = {}, features + network.ways
        for i in BLOCKS:
            # Twice Glorot's size, and queries that start as the keys: what looks alike finds each other from the start.
            theta[f"key{i}"] = 2 * glorot((size, WIDTH), size, WIDTH, generator)
            theta[f"query{i}"] = theta[f"key{i}"].clone()
            theta[f"value{i}"] = glorot((size, WIDTH), size, WIDTH, generator)
            size += WIDTH
        out = glorot((size, network.ways), size, network.ways, generator)
        return theta | {"out": out, "bias": torch.zeros(network.ways, device=generator.device)}

    def forward(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        return recall(weights, embed(weights, x, **options), network.ways)

    body, embed = take_body(network, more)
    return Memory(replace(body, forward=answer_once_read(body, forward, "keys1")), *settings, embed=embed)
