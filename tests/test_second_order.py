"""Hessian-vector products against the explicit Hessian, and the meta-gradient assembled by hand."""

import pytest
import torch

from maml_core import maml, second_order
from maml_core.maml import Learner
from maml_core.networks import sinusoid_network
from maml_core.tasks import SinusoidTasks


@pytest.fixture
def problem(generator):
    """One sinusoid task in float64: support loss, query loss and theta as a vector."""
    network = sinusoid_network()
    weights = {n: w.double() + 0.2 * torch.randn(w.shape, generator=generator) for n, w in network.init(generator).items()}
    theta, unflatten = second_order.flatten(weights)
    episodes = SinusoidTasks(10).sample(1, generator).to(dtype=torch.float64)
    learner = Learner(network, 0.01)

    def support(vector):
        return learner.support_loss(unflatten(vector), episodes.support_x, episodes.support_y).sum()

    def query(vector):
        return learner.point_losses(unflatten(vector), episodes.query_x, episodes.query_y).mean()

    return learner, weights, theta, episodes, support, query


def test_flatten_and_back(generator):
    weights = sinusoid_network().init(generator)
    vector, unflatten = second_order.flatten(weights)
    assert vector.shape == (1761,)
    assert all(torch.equal(unflatten(vector)[name], w) for name, w in weights.items())


def test_products_agree_with_the_explicit_hessian(problem, generator):
    _, _, theta, _, support, _ = problem
    H = second_order.explicit_hessian(support, theta)
    torch.testing.assert_close(H, H.T, rtol=1e-10, atol=1e-12)
    v = torch.randn(len(theta), generator=generator, dtype=theta.dtype)
    exact = H @ v
    scale = exact.norm()
    assert (second_order.hvp_double_backward(support, theta, v) - exact).norm() < 1e-13 * scale
    assert (second_order.hvp_forward_over_reverse(support, theta, v) - exact).norm() < 1e-13 * scale
    assert (
        second_order.hvp_central_difference(support, theta, v / v.norm(), 1e-5) * v.norm() - exact
    ).norm() < 1e-6 * scale


def test_central_difference_error_matches_theory():
    """For sum theta^3 the gradient is quadratic, so only rounding remains; for sum theta^4 the error is 4 eps^2 v^3."""
    theta = torch.tensor([1.0, -2.0], dtype=torch.float64)
    v = torch.tensor([0.5, 1.0], dtype=torch.float64)
    cubic = second_order.hvp_central_difference(lambda t: (t**3).sum(), theta, v, 0.1)
    torch.testing.assert_close(cubic, 6 * theta * v, rtol=1e-12, atol=1e-12)
    quartic = second_order.hvp_central_difference(lambda t: (t**4).sum(), theta, v, 0.1)
    torch.testing.assert_close(quartic - 12 * theta**2 * v, 4 * 0.1**2 * v**3, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_meta_gradient_by_hand_equals_autograd(problem, steps):
    learner, weights, theta, episodes, support, query = problem
    by_hand = second_order.meta_gradient_by_hand(support, query, theta, learner.alpha, steps)
    learner = Learner(learner.network, learner.alpha, steps)
    by_autograd, _ = second_order.flatten(maml.meta_gradient(learner, weights, episodes)[0])
    assert (by_hand - by_autograd).norm() < 1e-12 * by_autograd.norm()


def test_without_the_hessian_it_is_first_order(problem):
    learner, weights, theta, episodes, support, query = problem
    at_phi = torch.func.grad(query)(second_order.inner_path(support, theta, learner.alpha, 1)[-1])
    first_order = Learner(learner.network, learner.alpha, 1, first_order=True)
    torch.testing.assert_close(at_phi, second_order.flatten(maml.meta_gradient(first_order, weights, episodes)[0])[0])


def test_invalid_epsilon_is_refused(problem):
    _, _, theta, _, support, _ = problem
    with pytest.raises(ValueError, match="epsilon must be greater than 0"):
        second_order.hvp_central_difference(support, theta, theta, 0.0)


def test_power_iteration_finds_the_largest_eigenvalue_of_every_task():
    """Against the explicit Hessian of one task after the other; the last one's largest eigenvalue is negative."""
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 6, 6, generator=generator, dtype=torch.float64)
    matrices = matrices @ matrices.mT * torch.tensor([1.0, 4.0, -1.0], dtype=torch.float64)[:, None, None]

    def losses(w):
        return 0.5 * (w * (matrices @ w[..., None]).squeeze(-1)).sum(-1) + w.sum(-1)

    thetas = torch.randn(6, generator=generator, dtype=torch.float64).expand(3, -1)
    found = second_order.largest_eigenvalues(losses, thetas, generator, iterations=300)
    for i, matrix in enumerate(matrices):
        hessian = second_order.explicit_hessian(lambda v, m=matrix: 0.5 * v @ m @ v + v.sum(), thetas[i])
        spectrum = torch.linalg.eigvalsh(hessian).tolist()
        assert found[i].item() == pytest.approx(max(spectrum, key=abs), rel=1e-6)
