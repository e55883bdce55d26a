"""What batch norm sees at the query: three ways to judge the same adapted weights on the same pictures.

The paper's code normalizes the query pictures together (the paper does not say so), and with K queries per class that batch has
the make-up of the support set: a network is told something about a picture by the pictures beside it. This is called
transduction. The other two ways answer for each query picture on its own.
"""

import torch
from torch import Tensor

from .episodes import Episodes
from .networks import Network, Weights

# The key is what the statistics are taken over.
SEES = ("query batch", "support and one query", "support")


def query_outputs(network: Network, phi: Weights, episodes: Episodes, sees: str = "query batch") -> Tensor:
    """The adapted network's outputs on the query pictures, [T, N*Q, N].

    phi: adapted weights [T, ...]. sees: what batch norm takes its statistics over,
      "query batch"            all query pictures of the task, as the paper's code
      "support and one query"  the support set and the one picture in question
      "support"                the support set only
    """
    if sees not in SEES:
        raise ValueError(f"sees must be one of {', '.join(SEES)}, not {sees!r}.")
    if sees == "query batch":
        return network.forward(phi, episodes.query_x)
    support, query = episodes.support_x, episodes.query_x
    if sees == "support":
        shots = support.shape[1]
        return network.forward(phi, torch.cat([support, query], 1), seen=shots)[:, shots:]
    outputs = []
    for i in range(len(episodes)):
        # One task at a time: each query picture makes a batch with the support set, and these batches are the T.
        own = {name: w if name in network.frozen else w[i] for name, w in phi.items()}
        batches = torch.cat([support[i].expand(query.shape[1], *support.shape[1:]), query[i, :, None]], 1)
        outputs.append(network.forward(own, batches)[:, -1])
    return torch.stack(outputs)
