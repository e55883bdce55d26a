"""Tasks in a plane: weights that one can draw, for the picture of what MAML looks for (the paper's Figure 1).

A task is a linear regression with two weights theta: points x in R^2, targets x . optimum. Its loss is a
quadratic bowl around the optimum with Hessian (2/K) sum x x^T, so choosing the points chooses the curvature.
The tasks are fixed, support and query points the same: the picture needs no randomness.
"""

import torch
from torch import Tensor

from ..episodes import Episodes
from ..maml import Learner, adapt, meta_gradient
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


def directions(tasks: Episodes, theta: Tensor, alpha: float, steps: int) -> tuple[dict[str, Tensor], Tensor]:
    """Where each method moves theta [2], and the tasks' paths of adaptation [steps + 1, T, 2].

    The directions, [2], are minus the mean meta-gradient of "MAML" and of "first order", and for "Reptile" the mean of
    phi - theta, divided by alpha * steps so that the lengths compare.
    """
    network, start = plane_network(), {"theta": theta}
    found = {}
    for method, first_order in (("MAML", False), ("first order", True)):
        gradient, _ = meta_gradient(Learner(network, alpha, steps, first_order=first_order), start, tasks)
        found[method] = -gradient["theta"]
    learner, x, y = Learner(network, alpha, steps), tasks.support_x, tasks.support_y
    path = torch.stack([adapt(learner, start, x, y, n)["theta"].expand(len(tasks), 2) for n in range(steps + 1)])
    found["Reptile"] = (path[-1] - theta).mean(0) / (alpha * steps)
    return found, path
