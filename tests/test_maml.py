"""The task axis compared with a loop over tasks, in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from maml_core import maml, networks, reference
from maml_core.maml import Learner
from maml_core.networks import Network
from maml_core.tasks import CharacterTasks, SinusoidTasks


@dataclass
class Case:
    network: Network
    forward: Callable
    alpha: float


CASES = {
    "sinusoid": Case(networks.sinusoid_network(), reference.sinusoid_forward, 0.01),
    "conv": Case(networks.conv_network(5), reference.conv_forward, 0.4),
    "mlp": Case(networks.mlp_network(5), reference.mlp_forward, 0.4),
}


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


def draw(case: Case, characters, generator, tasks: int = 3):
    """Float64 episodes, and weights large enough that every derivative matters."""
    ways = case.network.ways
    distribution = SinusoidTasks(5) if ways == 1 else CharacterTasks(characters.images, ways, 1)
    theta = {name: w.double() for name, w in case.network.init(generator).items()}
    if case.network is not CASES["conv"].network:
        theta = {name: w + 0.2 * torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in theta.items()}
    return distribution.sample(tasks, generator).to(dtype=torch.float64), theta


def reference_gradient(case: Case, theta, episodes, steps: int, first_order: bool, inner_loss: str = "sum"):
    if case.network.ways == 1:
        inner = outer = reference.mean_squared_error(case.forward)
    else:
        outer = reference.mean_cross_entropy(case.forward)
        inner = reference.sum_over_shots(case.forward, case.network.ways) if inner_loss == "sum" else outer
    frozen = case.network.frozen
    return reference.meta_gradient(inner, outer, theta, episodes, case.alpha, steps, frozen, first_order)


def assert_equal_gradients(ours, theirs, tolerance: float = 1e-10) -> None:
    """The largest difference, relative to the largest entry of all gradients, is at most `tolerance`."""
    assert ours.keys() == theirs.keys()
    scale = max(g.abs().max() for g in theirs.values())
    assert scale > 1e-8
    for name in theirs:
        assert (ours[name] - theirs[name]).abs().max() <= tolerance * scale, name


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("first_order", [False, True], ids=["second", "first"])
def test_task_axis_equals_the_loop_over_tasks(case, characters, generator, steps, first_order):
    episodes, theta = draw(case, characters, generator)
    learner = Learner(case.network, case.alpha, steps, first_order=first_order)
    ours, losses = maml.meta_gradient(learner, theta, episodes)
    assert_equal_gradients(ours, reference_gradient(case, theta, episodes, steps, first_order))
    assert losses.shape == (3,)


def test_inner_loss_can_be_a_mean(characters, generator):
    case = CASES["conv"]
    episodes, theta = draw(case, characters, generator)
    ours, _ = maml.meta_gradient(Learner(case.network, case.alpha, 2, "mean"), theta, episodes)
    assert_equal_gradients(ours, reference_gradient(case, theta, episodes, 2, False, "mean"))


def test_sum_is_ways_times_mean(characters, generator):
    case = CASES["conv"]
    episodes, theta = draw(case, characters, generator)
    x, y = episodes.support_x, episodes.support_y
    by_sum = maml.adapt(Learner(case.network, 0.1, 1, "sum"), theta, x, y)
    by_mean = maml.adapt(Learner(case.network, 0.5, 1, "mean"), theta, x, y)
    for name in by_sum:
        torch.testing.assert_close(by_sum[name], by_mean[name])


def test_second_order_differs_from_first_order(case, characters, generator):
    """Otherwise the first test could pass with both sides first-order."""
    episodes, theta = draw(case, characters, generator)
    second, _ = maml.meta_gradient(Learner(case.network, case.alpha), theta, episodes)
    first, _ = maml.meta_gradient(Learner(case.network, case.alpha, first_order=True), theta, episodes)
    second, first = (torch.cat([g.flatten() for g in gradient.values()]) for gradient in (second, first))
    assert (second - first).norm() > 0.01 * second.norm()


def test_meta_gradient_against_finite_differences(generator):
    """Of the meta-objective, along random directions."""
    case = CASES["sinusoid"]
    episodes, theta = draw(case, None, generator)
    learner = Learner(case.network, case.alpha, 3)
    gradient, _ = maml.meta_gradient(learner, theta, episodes)
    for _ in range(3):
        direction = {name: torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in theta.items()}
        moved = [{name: w + e * direction[name] for name, w in theta.items()} for e in (1e-6, -1e-6)]
        difference = sum(s * maml.meta_objective(learner, w, episodes) for s, w in zip((1, -1), moved)) / 2e-6
        slope = sum((gradient[name] * direction[name]).sum() for name in theta)
        torch.testing.assert_close(difference, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
def test_chunks_do_not_change_the_gradient(case, characters, generator, chunk):
    episodes, theta = draw(case, characters, generator, tasks=5)
    learner = Learner(case.network, case.alpha)
    whole, losses = maml.meta_gradient(learner, theta, episodes)
    parts, part_losses = maml.meta_gradient(learner, theta, episodes, chunk)
    assert_equal_gradients(parts, whole, 1e-12)
    torch.testing.assert_close(part_losses, losses)


def test_adapt_equals_the_reference_task_by_task(case, characters, generator):
    episodes, theta = draw(case, characters, generator)
    phi = maml.adapt(Learner(case.network, case.alpha), theta, episodes.support_x, episodes.support_y, steps=3)
    loss = reference.mean_squared_error(case.forward)
    if case.network.ways > 1:
        loss = reference.sum_over_shots(case.forward, case.network.ways)
    theta = {name: w.requires_grad_() for name, w in theta.items()}
    for i, task in enumerate(episodes):
        expected = reference.adapt(loss, theta, task.support_x, task.support_y, case.alpha, 3, case.network.frozen)
        for name in theta:
            ours = phi[name] if name in case.network.frozen else phi[name][i]
            torch.testing.assert_close(ours, expected[name], rtol=1e-9, atol=1e-10)


def test_beta_is_meta_learned_but_not_adapted(characters, generator):
    case = CASES["conv"]
    episodes, theta = draw(case, characters, generator)
    learner = Learner(case.network, case.alpha)
    phi = maml.adapt(learner, theta, episodes.support_x, episodes.support_y)
    gradient, _ = maml.meta_gradient(learner, theta, episodes)
    for name in ("beta1", "beta4"):
        assert phi[name] is theta[name] and gradient[name].abs().max() > 0
    assert phi["conv1"].shape == (3, *theta["conv1"].shape)


def test_an_inner_step_that_is_not_differentiated_again_is_the_same(case, characters, generator):
    """Plain autograd, as at test, and torch.func; a weight without a part in the loss has a gradient of 0."""
    episodes, theta = draw(case, characters, generator)
    learner = Learner(case.network, case.alpha)
    phi = maml.stack(case.network, theta | {"unused": torch.ones(2).double()}, len(episodes))
    again = maml.support_gradient(learner, phi, episodes.support_x, episodes.support_y)
    with torch.no_grad():
        once = maml.support_gradient(learner, phi, episodes.support_x, episodes.support_y)
    assert_equal_gradients(once, again, tolerance=1e-14)
    assert once["unused"].shape == (len(episodes), 2) and not once["unused"].any()
    assert not any(g.requires_grad for g in once.values())


def test_tasks_are_independent(characters, generator):
    """Changing task 1 leaves the adapted weights of tasks 0 and 2 bitwise identical."""
    case = CASES["mlp"]
    episodes, theta = draw(case, characters, generator)
    learner = Learner(case.network, case.alpha)
    x = episodes.support_x.clone()
    before = maml.adapt(learner, theta, x, episodes.support_y)
    x[1] = x[1].flip(-1)
    after = maml.adapt(learner, theta, x, episodes.support_y)
    assert torch.equal(before["w1"][[0, 2]], after["w1"][[0, 2]])
    assert not torch.equal(before["w1"][1], after["w1"][1])


def test_zero_inner_steps_are_plain_training(generator):
    case = CASES["sinusoid"]
    episodes, theta = draw(case, None, generator)
    ours, _ = maml.meta_gradient(Learner(case.network, 0.01, steps=0), theta, episodes)
    theta = {name: w.requires_grad_() for name, w in theta.items()}
    loss = sum(reference.mean_squared_error(case.forward)(theta, t.query_x, t.query_y) for t in episodes) / 3
    assert_equal_gradients(ours, dict(zip(theta, torch.autograd.grad(loss, list(theta.values())))))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(alpha=0.0), "alpha must be greater than 0"),
        (dict(alpha=-1.0), "alpha must be greater than 0"),
        (dict(alpha=float("nan")), "alpha must be greater than 0"),
        (dict(alpha=0.1, steps=-1), "steps must be at least 0"),
        (dict(alpha=0.1, inner_loss="total"), 'inner_loss must be "sum" or "mean"'),
    ],
)
def test_invalid_learners_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Learner(networks.sinusoid_network(), **arguments)


@pytest.mark.parametrize(
    "shapes, sentence",
    [
        (((5, 1), (5,)), r"x has shape \[5, 1\] and y \[5\], but both must begin with \[T, B\].*x\[None\] and y\[None\]"),
        (((5,), (5,)), r"must begin with \[T, B\]"),
        (((3, 5, 1), (3, 4)), r"y \[3, 4\], but both"),
        (((3, 5, 1), (2, 5)), r"y \[2, 5\], but both"),
    ],
)
def test_support_sets_without_a_task_axis_cannot_be_adapted_to(shapes, sentence):
    network = networks.sinusoid_network()
    x, y = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=sentence):
        maml.adapt(Learner(network, 0.01), network.init(torch.Generator()), x, y)


def test_other_support_sets_and_steps_that_cannot_be_are_refused():
    learner, x, y = Learner(networks.sinusoid_network(), 0.01), torch.zeros(3, 5, 1), torch.zeros(3, 5)
    theta = learner.network.init(torch.Generator())
    with pytest.raises(ValueError, match="steps must be at least 0, not -1"):
        maml.adapt(learner, theta, x, y, steps=-1)
    with pytest.raises(ValueError, match="x and y must be tensors, not ndarray: convert them with torch.as_tensor"):
        maml.adapt(learner, theta, x.numpy(), y.numpy())
