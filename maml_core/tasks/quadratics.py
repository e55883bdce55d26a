"""Tasks in a plane: weights that one can draw, for the picture of what MAML looks for (the paper's Figure 1).

A task is a linear regression with two weights theta: points x in R^2, targets x . optimum. Its loss is a
quadratic bowl around the optimum with Hessian (2/K) sum x x^T, so choosing the points chooses the curvature.
The tasks are fixed, support and query points the same: the picture needs no randomness.
"""

import torch
from torch import Tensor

from ..episodes import Episodes
from ..maml import Learner, meta_gradient
from ..networks import Network, Weights, squared_error


def plane_network(start: tuple[float, float] = (0.0, 0.0)) -> Network:
    """x . theta with theta in R^2: x [T, B, 2] -> [T, B]."""

    def forward(weights: Weights, x: Tensor) -> Tensor:
        return (x * weights["theta"][..., None, :]).sum(-1)

    return Network(lambda generator: {"theta": torch.tensor(start)}, forward, squared_error)


def plane_tasks(optima: Tensor, curvatures: Tensor, angles: Tensor) -> Episodes:
    """T tasks with given optima [T, 2] and Hessians with eigenvalues curvatures [T, 2], turned by angles [T].

    Two points along the eigenvectors e_1, e_2 with lengths sqrt(curvature) make the Hessian sum_k c_k e_k e_k^T.
    """
    axes = torch.stack([angles.cos(), angles.sin(), -angles.sin(), angles.cos()], -1).unflatten(-1, (2, 2))
    x = curvatures.sqrt()[..., None] * axes
    y = (x * optima[:, None]).sum(-1)
    return Episodes(x, y, x, y)


def descend(learner: Learner, tasks: Episodes, iterations: int = 400, size: float = 0.05) -> Tensor:
    """Gradient descent on the meta-objective: the path of theta, [iterations + 1, 2]."""
    theta = learner.network.init(torch.Generator())
    path = [theta["theta"]]
    for _ in range(iterations):
        gradient, _ = meta_gradient(learner, theta, tasks)
        theta = {"theta": theta["theta"] - size * gradient["theta"]}
        path.append(theta["theta"])
    return torch.stack(path)
