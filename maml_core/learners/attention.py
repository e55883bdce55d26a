"""A model-based learner: one network reads the labelled support set into a memory, then classifies the queries.

The idea is that of memory-augmented networks (Santoro et al. 2016, the paper's MANN), with attention as the memory, as in
SNAIL (Mishra et al. 2018, 1707.03141). Neither comparison nor gradients are built in: how to learn a task is itself
meta-learned. A point is a token [h, label], where h is the embedding and the label a one-hot row, all zeros for a query.
In each of two blocks a token attends to the support tokens:

    token <- [token, softmax(token Q (tokens K)^T / sqrt(d)) tokens V]

Support tokens attend to one another, and the query attends to them. So the memory is just both blocks' keys and values,
[T, N*K, d]. Tokens carry no positions, since the support set has no order.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..layers import glorot, linear, product
from ..networks import Network, Weights
from .reader import Reader, split_body, uniform_until_read

WIDTH = 64  # d, of keys and values
BLOCKS = (1, 2)


@dataclass(frozen=True)
class Memory(Reader):
    """Reads the support set into keys and values, from which `recall` predicts."""

    def read(self, phi: Weights, h: Tensor, labels: Tensor) -> Weights:
        tokens = torch.cat([h, labels], -1)
        memory: Weights = {}
        for i in BLOCKS:
            memory |= {f"keys{i}": product(tokens, phi[f"key{i}"]), f"values{i}": product(tokens, phi[f"value{i}"])}
            tokens = look(phi | memory, tokens, i)
        return memory


def look(weights: Weights, tokens: Tensor, block: int) -> Tensor:
    """Append to each token [T, B, C] what it retrieves from the memory: [T, B, C + d]."""
    queries = product(tokens, weights[f"query{block}"])
    attention = (product(queries, weights[f"keys{block}"].mT) / math.sqrt(queries.shape[-1])).softmax(-1)  # [T, B, N*K]
    return torch.cat([tokens, product(attention, weights[f"values{block}"])], -1)


def recall(weights: Weights, h: Tensor, ways: int) -> Tensor:
    """The logits of query points h [T, B, F], each classified independently: [T, B, N]."""
    tokens = torch.cat([h, h.new_zeros(*h.shape[:-1], ways)], -1)
    for i in BLOCKS:
        tokens = look(weights, tokens, i)
    return linear(tokens, weights["out"], weights["bias"])


def memory(network: Network, *settings: Any) -> Memory:
    """The classifier's body, followed by two attention blocks and a new last layer."""

    def extra(generator: torch.Generator, features: int) -> Weights:
        theta, size = {}, features + network.ways
        for i in BLOCKS:
            # Queries start equal to keys, at twice Glorot's scale, so that similar tokens attend to each other at once.
            theta[f"key{i}"] = 2 * glorot((size, WIDTH), size, WIDTH, generator)
            theta[f"query{i}"] = theta[f"key{i}"].clone()
            theta[f"value{i}"] = glorot((size, WIDTH), size, WIDTH, generator)
            size += WIDTH
        out = glorot((size, network.ways), size, network.ways, generator)
        return theta | {"out": out, "bias": torch.zeros(network.ways, device=generator.device)}

    def forward(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        return recall(weights, embed(weights, x, **options), network.ways)

    body, embed = split_body(network, extra)
    return Memory(replace(body, forward=uniform_until_read(body, forward, "keys1")), *settings, embed=embed)
