"""Metric-based learners: an embedding is meta-learned, and a task is learned by comparing with its support set.

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
from .reader import HEAD, Reader, answer_once_read, take_body

SHARPNESS = 10.0  # what the meta-learned factor of matching networks' cosines starts at


class Prototypes(Reader):
    """Class means c_k, and -|h - c_k|^2 as logits. In h that is linear up to what all classes share (their section 2.4):

        -|h - c_k|^2 = 2 c_k . h - |c_k|^2 - |h|^2

    so reading writes the classifier's last layer, weight [T, F, N] and bias [T, N]; MAML gets there by gradients.
    """

    def read(self, phi: Weights, h: Tensor, labels: Tensor) -> Weights:
        means = product(labels.mT, h) / labels.sum(-2)[..., None]  # [T, N, F]
        return dict(zip(HEAD, (2 * means.mT, -(means**2).sum(-1))))


class Matching(Reader):
    """Keeps every support point: directions h / |h| and their labels. `match` then attends over them."""

    def read(self, phi: Weights, h: Tensor, labels: Tensor) -> Weights:
        return {"keys": F.normalize(h, dim=-1), "labels": labels}


def match(weights: Weights, h: Tensor) -> Tensor:
    """Equation 1 of Vinyals et al.: the labels, weighted by a softmax over cosines; its logarithm, [T, B, N].

    Cosines lie in [-1, 1], and of embeddings behind a ReLU in [0, 1]: with five points no probability could exceed
    e / (e + 4). So they are multiplied by a meta-learned factor, which the paper does not have.
    """
    cosines = product(F.normalize(h, dim=-1), weights["keys"].mT)  # [T, B, N*K]
    attention = (weights["sharpness"] * cosines).softmax(-1)
    return product(attention, weights["labels"]).clamp_min(1e-12).log()


def prototypes(network: Network, *settings: Any) -> Prototypes:
    """The classifier's body, and a last layer that is read off the support set."""
    body, embed = take_body(network)
    return Prototypes(replace(body, forward=answer_once_read(body, network.forward, HEAD[0])), *settings, embed=embed)


def matching(network: Network, *settings: Any) -> Matching:
    """The classifier's body, a factor for the cosines, and no last layer."""

    def sharpness(generator: torch.Generator, features: int) -> Weights:
        return {"sharpness": torch.tensor(SHARPNESS, device=generator.device)}

    body, embed = take_body(network, sharpness)

    def forward(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        return match(weights, embed(weights, x, **options))

    return Matching(replace(body, forward=answer_once_read(body, forward, "keys")), *settings, embed=embed)
