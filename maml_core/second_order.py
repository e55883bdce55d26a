"""Hessian-vector products: MAML's second derivatives without forming the Hessian.

One inner step is phi = theta - alpha grad L(theta), so its Jacobian is d phi / d theta = I - alpha H, with the Hessian H of
the support loss L. The meta-gradient is that (symmetric) Jacobian times the query gradient:

    grad_theta L'(phi) = (I - alpha H(theta)) g,    g = grad_phi L'(phi)

H has n^2 entries, but only H g is needed, and H g = d/d theta (grad L(theta) . g) costs as much as a few gradients.

Here theta is a flat vector [n] and a loss is a function of it; `flatten` converts from a dictionary of weights.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from .networks import Weights

# In forward mode torch warns of its own use of torch.jit.script, which a notebook would show in red.
warnings.filterwarnings("ignore", message=".*torch.jit.script")

LossOfVector = Callable[[Tensor], Tensor]


def flatten(weights: Weights) -> tuple[Tensor, Callable[[Tensor], Weights]]:
    """All weights as one vector [n], and the inverse function, which also takes a vector for each task, [T, n]."""
    shapes = {name: w.shape for name, w in weights.items()}

    def unflatten(vector: Tensor) -> Weights:
        parts = vector.split([shape.numel() for shape in shapes.values()], -1)
        return {name: part.reshape(*vector.shape[:-1], *shape) for (name, shape), part in zip(shapes.items(), parts)}

    return torch.cat([w.flatten() for w in weights.values()]), unflatten


def explicit_hessian(loss: LossOfVector, theta: Tensor) -> Tensor:
    """The full H [n, n], to check the products below on a small network."""
    return torch.func.hessian(loss)(theta)


def hvp_double_backward(loss: LossOfVector, theta: Tensor, v: Tensor) -> Tensor:
    """H v as the gradient of (grad L . v): reverse over reverse, what autograd does inside MAML."""
    theta = theta.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
    (product,) = torch.autograd.grad(gradient @ v, theta)
    return product


def hvp_forward_over_reverse(loss: LossOfVector, theta: Tensor, v: Tensor) -> Tensor:
    """H v as the directional derivative of grad L along v: forward over reverse, no second graph to keep."""
    return torch.func.jvp(torch.func.grad(loss), (theta,), (v,))[1]


def hvp_central_difference(loss: LossOfVector, theta: Tensor, v: Tensor, epsilon: float) -> Tensor:
    """H v ~ (grad L(theta + epsilon v) - grad L(theta - epsilon v)) / (2 epsilon).

    Its error falls as epsilon^2 (Taylor) until rounding, which grows as 1 / epsilon, takes over.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon must be greater than 0, not {epsilon}.")
    gradient = torch.func.grad(loss)
    return (gradient(theta + epsilon * v) - gradient(theta - epsilon * v)) / (2 * epsilon)


def largest_eigenvalues(losses: LossOfVector, thetas: Tensor, generator: torch.Generator, iterations: int = 100) -> Tensor:
    """The eigenvalue of each task's Hessian that is largest in size, by power iteration on all tasks at once: [T].

    losses: weights [T, n] -> each task's loss [T]. The Hessian of their sum is block-diagonal, one block for each task, so
    that a single product serves all of them.
    thetas: [T, n], such as theta.expand(T, -1). generator: of the random directions to start from.
    """
    v, thetas = torch.randn(thetas.shape, generator=generator, dtype=thetas.dtype), thetas.contiguous()
    for _ in range(iterations):
        v = v / v.norm(dim=-1, keepdim=True)
        image = hvp_forward_over_reverse(lambda w: losses(w).sum(), thetas, v)
        eigenvalues, v = (v * image).sum(-1), image
    return eigenvalues


def inner_path(loss: LossOfVector, theta: Tensor, alpha: float, steps: int) -> list[Tensor]:
    """theta and the weights after each inner step: [phi_0 = theta, phi_1, ..., phi_steps]."""
    path = [theta]
    for _ in range(steps):
        path.append(path[-1] - alpha * torch.func.grad(loss)(path[-1]))
    return path


def meta_gradient_by_hand(
    support_loss: LossOfVector, query_loss: LossOfVector, theta: Tensor, alpha: float, steps: int = 1
) -> Tensor:
    """One task's meta-gradient from the chain rule: the query gradient, carried back over the inner steps.

    (I - alpha H(phi_0)) (I - alpha H(phi_1)) ... (I - alpha H(phi_{steps-1})) grad L'(phi_steps),
    multiplied from the right, so that each factor costs one Hessian-vector product. Without the H's it is
    first-order MAML's.
    """
    path = inner_path(support_loss, theta, alpha, steps)
    v = torch.func.grad(query_loss)(path[-1])
    for phi in reversed(path[:-1]):
        v = v - alpha * hvp_forward_over_reverse(support_loss, phi, v)
    return v


def conjugate_gradients(product: Callable[[Weights], Weights], b: Weights, iterations: int) -> Weights:
    """Solve A x = b for all tasks at once, with A symmetric positive definite: b and x [T, ...], product v -> A v.

    Hestenes and Stiefel 1952, starting at x = 0; a task that has converged no longer changes.
    """

    def dot(u: Weights, v: Weights) -> Tensor:
        return torch.stack([(u[name] * v[name]).flatten(1).sum(1) for name in u]).sum(0)

    def axpy(scale: Tensor, u: Weights, v: Weights) -> Weights:
        """scale * u + v, with one scale per task, [T]."""
        return {name: scale.view(-1, *[1] * (u[name].dim() - 1)) * u[name] + v[name] for name in u}

    x = {name: torch.zeros_like(w) for name, w in b.items()}
    residual = direction = b
    norm = dot(residual, residual)
    for _ in range(iterations):
        image = product(direction)
        length = _divide(norm, dot(direction, image))
        x, residual = axpy(length, direction, x), axpy(-length, image, residual)
        norm, before = dot(residual, residual), norm
        direction = axpy(_divide(norm, before), direction, residual)
    return x


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """a / b, or 0 where b is not positive, as in a task that has converged."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1), 0)
