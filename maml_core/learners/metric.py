"""Metric-based learners: the embedding is meta-learned, and queries are classified by comparison with the support set.

prototypical networks   Snell, Swersky, Zemel 2017 (1703.05175)   the nearest class mean
matching networks       Vinyals et al. 2016 (1606.04080)          attention over the support points
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import product
from ..networks import Network, Weights
from .reader import HEAD, Reader, split_body, uniform_until_read

SHARPNESS = 10.0  # initial value of the meta-learned factor of matching networks' cosines


class Prototypes(Reader):
    """Class means c_k, with -|h - c_k|^2 as logits, linear in h up to a term that all classes share (their section 2.4):

        -|h - c_k|^2 = 2 c_k . h - |c_k|^2 - |h|^2

    So reading the support set sets the classifier's last layer, weight [T, F, N] and bias [T, N]; MAML uses gradients.
    """

    def read(self, phi: Weights, h: Tensor, labels: Tensor) -> Weights:
        counts = labels.sum(-2)  # [T, N]; 0 for the classes that a task of fewer ways does not have
        means = product(labels.mT, h) / counts.clamp_min(1)[..., None]  # [T, N, F]
        bias = (-(means**2).sum(-1)).masked_fill(counts == 0, -torch.inf)
        return dict(zip(HEAD, (2 * means.mT, bias)))


class Matching(Reader):
    """Stores every support point: its direction h / |h| and its label. `match` then attends over them."""

    def read(self, phi: Weights, h: Tensor, labels: Tensor) -> Weights:
        return {"keys": F.normalize(h, dim=-1), "labels": labels}


def match(weights: Weights, h: Tensor) -> Tensor:
    """The logarithm of Vinyals et al.'s equation 1, the labels weighted by a softmax over cosines: [T, B, N].

    Cosines lie in [-1, 1], and in [0, 1] for embeddings after a ReLU, so with five points no probability could exceed
    e / (e + 4). They are therefore multiplied by a meta-learned factor, which the paper does not have.
    """
    cosines = product(F.normalize(h, dim=-1), weights["keys"].mT)  # [T, B, N*K]
    attention = (weights["sharpness"] * cosines).softmax(-1)
    return product(attention, weights["labels"]).clamp_min(1e-12).log()


def prototypes(network: Network, *settings: Any) -> Prototypes:
    """The classifier's body, with a last layer computed from the support set."""
    body, embed = split_body(network)
    return Prototypes(replace(body, forward=uniform_until_read(body, body.forward, HEAD[0])), *settings, embed=embed)


def matching(network: Network, *settings: Any) -> Matching:
    """The classifier's body with no last layer, and a meta-learned factor for the cosines."""

    def sharpness(generator: torch.Generator, features: int) -> Weights:
        return {"sharpness": torch.tensor(SHARPNESS, device=generator.device)}

    body, embed = split_body(network, sharpness)

    def forward(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        return match(weights, embed(weights, x, **options))

    return Matching(replace(body, forward=uniform_until_read(body, forward, "keys")), *settings, embed=embed)
