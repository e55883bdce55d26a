"""What adapts in the inner loop: a choice of weights, by where they are in the network.

    everything   MAML
    head         the last layer alone: ANIL, "almost no inner loop" (Raghu et al. 2020, arXiv 1909.09157)
    body         all but the last layer: BOIL (Oh et al. 2021, arXiv 2008.08882)
    last block   the layer before the last one alone, which is where a network with an alpha for each layer to learn comes
                 to take its step (chapter 4)

All else is meta-learned and frozen in the inner loop, as batch norm's beta is anyway. Layers are told by the number at the
end of a weight's name: conv4 and beta4 belong to layer 4.
"""

import re
from dataclasses import replace

import torch

from ..networks import Network
from ..util.checks import one_of


def _layers(network: Network) -> list[list[str]]:
    """The names of the weights that may adapt, layer by layer."""
    layers: dict[str, list[str]] = {}
    for name in network.init(torch.Generator()):
        if name in network.frozen:
            continue
        number = re.search(r"\d+$", name)
        if number is None:
            raise ValueError(
                f"The weight {name!r} has no number at its end, so its layer is not known: call it {name}1, say."
            )
        layers.setdefault(number[0], []).append(name)
    return list(layers.values())


CHOICES = {
    "everything": lambda layers: layers,
    "body": lambda layers: layers[:-1],
    "head": lambda layers: layers[-1:],
    "last block": lambda layers: layers[-2:-1],
}


def adapting(network: Network, what: str) -> Network:
    """The network of which only this part adapts in the inner loop: a key of CHOICES.

    Raises ValueError for another word, and for a network whose layers cannot be told by the names of its weights.
    """
    one_of(CHOICES, adapts=what)
    if what == "everything":
        return network
    layers = _layers(network)
    adapts = {name for layer in CHOICES[what](layers) for name in layer}
    if not adapts:
        raise ValueError(f"This network has {len(layers)} layer, so {what!r} is none of it: take everything.")
    return replace(network, frozen=network.frozen | {name for layer in layers for name in layer if name not in adapts})
