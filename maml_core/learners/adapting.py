"""Which layers adapt in the inner loop.

    everything   MAML
    head         only the last layer: ANIL, "almost no inner loop" (Raghu et al. 2020, arXiv 1909.09157)
    body         all but the last layer: BOIL (Oh et al. 2021, arXiv 2008.08882)
    last block   only the layer before the last, which is the one that adapts when each layer's alpha is meta-learned
                 (chapter 4)

The other weights are meta-learned but frozen in the inner loop, as batch norm's beta always is. The number at the end of a
weight's name gives its layer: conv4 and beta4 belong to layer 4.
"""

import re
from dataclasses import replace

import torch

from ..networks import Network
from ..util.checks import one_of


def _layers(network: Network) -> list[list[str]]:
    """The names of the weights that are not frozen, layer by layer."""
    if network.layers is not None:
        adaptable = [[name for name in layer if name not in network.frozen] for layer in network.layers]
        return [layer for layer in adaptable if layer]
    layers: dict[str, list[str]] = {}
    for name in network.init(torch.Generator()):
        if name in network.frozen:
            continue
        number = re.search(r"\d+$", name)
        if number is None:
            raise ValueError(
                f"The name of weight {name!r} does not end in a layer number: rename it, to {name}1, for example."
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
    """The network with only this part adapting in the inner loop, a key of CHOICES.

    Raises ValueError for an unknown key, and for a network whose weights are not named by layer.
    """
    one_of(CHOICES, adapts=what)
    if what == "everything":
        return network
    layers = _layers(network)
    adapts = {name for layer in CHOICES[what](layers) for name in layer}
    if not adapts:
        raise ValueError(f"This network has only {len(layers)} layer, so {what!r} is empty: choose 'everything'.")
    return replace(network, frozen=network.frozen | {name for layer in layers for name in layer if name not in adapts})
