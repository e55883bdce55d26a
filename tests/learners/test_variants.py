"""Each variant against an independent computation, in float64."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from maml_core import reference
from maml_core.engine import MetaTrainer
from maml_core.episodes import Episodes
from maml_core.evaluation import evaluate
from maml_core.layers import linear
from maml_core.learners import LEARNERS, VARIANTS
from maml_core.learners.adapting import CHOICES, adapting
from maml_core.learners.imaml import IMAML
from maml_core.learners.registry import CHOOSES_ITSELF
from maml_core.learners.variants import MAMLPlusPlus, MetaSGD, Reptile, adapt_everything, adapt_head_only, with_alphas
from maml_core.maml import Learner, adapt, meta_gradient, support_gradient
from maml_core.networks import Network, Weights, conv_network, mlp_network, sinusoid_network, squared_error
from maml_core.recipes import find_recipe
from maml_core.second_order import conjugate_gradients
from maml_core.tasks import CharacterTasks, SinusoidTasks
from maml_core.tasks.quadratics import plane_network, plane_tasks
from maml_core.util import seeded_generator as seeded
from tests.small import make_trainer

ALPHA = 0.02


def double(theta: Weights) -> Weights:
    return {name: w.double() for name, w in theta.items()}


def perturbed(theta: Weights, seed: int = 1) -> Weights:
    """Weights perturbed away from their initial values, where all biases are 0; alphas set to full float64 precision."""
    generator = seeded(seed)
    return {
        name: torch.full_like(w, ALPHA) if name.startswith("alpha.")
        else w + 0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype)
        for name, w in theta.items()
    }  # fmt: skip


@pytest.fixture
def waves() -> Episodes:
    return SinusoidTasks(5).sample(4, seeded(0)).to(dtype=torch.float64)


def assert_close(ours: Weights, theirs: Weights, rtol: float = 1e-9) -> None:
    for name, w in theirs.items():
        torch.testing.assert_close(ours[name], w, rtol=rtol, atol=rtol * 1e-2)


# ANIL.


def test_anils_inner_gradient_is_zero_outside_the_head(waves):
    network = adapt_head_only(sinusoid_network())
    learner, theta = Learner(network, ALPHA, steps=3), perturbed(double(network.init(seeded(0))))
    assert support_gradient(learner, theta, waves.support_x, waves.support_y).keys() == {"w3", "b3"}
    phi = adapt(learner, theta, waves.support_x, waves.support_y)
    for name, w in theta.items():
        moved = (phi[name] - w).abs().max() > 0
        assert bool(moved) == (name in ("w3", "b3"))


def test_anils_meta_gradient_matches_the_loop(waves):
    network = adapt_head_only(sinusoid_network())
    theta = perturbed(double(network.init(seeded(0))))
    ours, _ = meta_gradient(Learner(network, ALPHA, steps=3), theta, waves)
    mse = reference.mean_squared_error(reference.sinusoid_forward)
    theirs = reference.meta_gradient(mse, mse, theta, waves, ALPHA, 3, network.frozen)
    assert_close(ours, theirs)
    assert ours["w1"].abs().max() > 0  # meta-learned nevertheless


def test_anil_freezes_a_classifiers_body(characters):
    network = adapt_head_only(mlp_network(5))
    assert set(network.init(seeded(0))) - network.frozen == {"w5", "b5"}
    tasks = CharacterTasks(characters.images, 5, 1)
    scores = evaluate(Learner(network, 0.1), network.init(seeded(0)), tasks, [0, 1], seeded(1), test_tasks=4)
    assert scores[1].shape == (4,)


# Meta-SGD.


def test_meta_sgd_with_equal_alphas_is_maml(waves):
    network = sinusoid_network()
    with_vector = with_alphas(network, ALPHA)
    theta = perturbed(double(with_vector.init(seeded(0))))
    ours, losses = meta_gradient(MetaSGD(with_vector, ALPHA, steps=2), theta, waves)
    plain = {name: w for name, w in theta.items() if not name.startswith("alpha.")}
    theirs, their_losses = meta_gradient(Learner(network, ALPHA, steps=2), plain, waves)
    assert_close(ours, theirs)
    torch.testing.assert_close(losses, their_losses)


@pytest.mark.parametrize("learner", ["Meta-SGD", "MAML++"])
def test_the_alphas_gradient_matches_finite_differences(waves, learner):
    if learner == "Meta-SGD":
        network = with_alphas(sinusoid_network(), ALPHA)
        variant = MetaSGD(network, ALPHA, steps=2)
    else:
        network = with_alphas(sinusoid_network(), ALPHA, steps=2)
        variant = MAMLPlusPlus(network, ALPHA, steps=2, importance=(0.25, 0.75))
    theta = perturbed(double(network.init(seeded(0))))
    gradient, _ = meta_gradient(variant, theta, waves)
    epsilon = 1e-5
    for name in ("alpha.w3", "alpha.b2"):
        bump = torch.zeros_like(theta[name])
        place = gradient[name].abs().flatten().argmax()
        bump.view(-1)[place] = epsilon
        up, down = (variant.losses(theta | {name: theta[name] + sign * bump}, waves).mean() for sign in (1, -1))
        assert gradient[name].flatten()[place].item() == pytest.approx(((up - down) / (2 * epsilon)).item(), rel=1e-4)


def test_meta_sgd_learns_its_alphas():
    network = with_alphas(sinusoid_network(), 0.01)
    trainer = MetaTrainer(MetaSGD(network, 0.01), SinusoidTasks(10), seeded(0), meta_batch=4)
    trainer.run(5)
    assert (trainer.theta["alpha.w2"] - 0.01).abs().max() > 1e-4


# MAML++.


def test_maml_plus_plus_with_only_the_last_step_is_maml(waves):
    network = sinusoid_network()
    layered = with_alphas(network, ALPHA, steps=3)
    theta = perturbed(double(layered.init(seeded(0))))
    assert theta["alpha.w1"].shape == (3,)
    ours, _ = meta_gradient(MAMLPlusPlus(layered, ALPHA, steps=3, importance=(0, 0, 1)), theta, waves)
    plain = {name: w for name, w in theta.items() if not name.startswith("alpha.")}
    theirs, _ = meta_gradient(Learner(network, ALPHA, steps=3), plain, waves)
    assert_close(ours, theirs)


def test_the_multi_step_loss_is_the_mean_over_steps(waves):
    layered = with_alphas(sinusoid_network(), ALPHA, steps=3)
    theta = perturbed(double(layered.init(seeded(0))))
    losses = MAMLPlusPlus(layered, ALPHA, steps=3).losses(theta, waves)
    each = [Learner(layered, ALPHA, steps).losses(theta, waves) for steps in (1, 2, 3)]
    torch.testing.assert_close(losses, torch.stack(each).mean(0))


def test_steps_beyond_those_of_training_reuse_the_last_alpha(waves):
    layered = with_alphas(sinusoid_network(), ALPHA, steps=1)
    theta = perturbed(double(layered.init(seeded(0))))
    ours = adapt(MAMLPlusPlus(layered, ALPHA, steps=1), theta, waves.support_x, waves.support_y, 3)
    theirs = adapt(Learner(layered, ALPHA), theta, waves.support_x, waves.support_y, 3)
    assert_close(ours, theirs)


def test_importance_must_have_one_entry_per_step():
    with pytest.raises(ValueError, match="importance must have a number for each of 2 steps"):
        MAMLPlusPlus(with_alphas(sinusoid_network(), ALPHA, 2), ALPHA, steps=2, importance=(1.0,))


# Reptile.


def test_reptiles_direction_in_the_limit_of_small_alphas_is_the_mean_gradient(waves):
    """(theta - phi) / (alpha k) -> the gradient of the loss on all of a task's points; the error is linear in alpha."""
    network = adapt_everything(sinusoid_network())
    theta = perturbed(double(network.init(seeded(0))))
    x = torch.cat([waves.support_x, waves.query_x], 1)
    y = torch.cat([waves.support_y, waves.query_y], 1)
    limit = {name: g.mean(0) for name, g in support_gradient(
        Learner(network, ALPHA), {n: w.expand(4, *w.shape) for n, w in theta.items()}, x, y).items()}  # fmt: skip

    def distance(alpha: float) -> float:
        found, _ = meta_gradient(Reptile(network, alpha, steps=3), theta, waves)
        return sum((found[name] - limit[name]).norm() ** 2 for name in limit).sqrt().item()

    distances = [distance(alpha) for alpha in (1e-3, 1e-4, 1e-5)]
    assert distances[0] / distances[1] == pytest.approx(10, rel=0.1)
    assert distances[1] / distances[2] == pytest.approx(10, rel=0.05)


def test_reptile_moves_batch_norms_beta(characters):
    network = adapt_everything(mlp_network(5))
    learner, tasks = Reptile(network, 0.1, steps=2), CharacterTasks(characters.images, 5, 1)
    gradient, losses = meta_gradient(learner, network.init(seeded(0)), tasks.sample(2, seeded(1)))
    assert gradient["beta1"].shape == (256,) and gradient["beta4"].abs().max() > 0
    assert losses.shape == (2,)


# iMAML.


def test_imamls_implicit_gradient_is_the_unrolled_one_at_convergence():
    """On 2-D quadratics: the inner loop run to convergence and differentiated through, against the implicit formula."""
    optima = torch.tensor([[-1.9, 1.2], [2.0, 1.6], [0.6, -2.2]])
    curvatures = torch.tensor([[2.4, 1.4], [0.6, 0.3], [0.3, 0.6]])
    tasks = plane_tasks(optima, curvatures, torch.tensor([0.5, 0.4, 0.6])).to(dtype=torch.float64)
    learner = IMAML(plane_network((0.3, -0.4)), alpha=0.2, steps=200, strength=1.5, solves=2)
    theta = {"theta": torch.tensor([0.3, -0.4], dtype=torch.float64)}
    implicit, _ = learner.gradient_of_sum(theta, tasks)
    unrolled, _ = Learner.gradient_of_sum(learner, theta, tasks)
    torch.testing.assert_close(implicit["theta"], unrolled["theta"], rtol=1e-9, atol=1e-10)
    assert (implicit["theta"] - Learner(learner.network, 0.2).gradient_of_sum(theta, tasks)[0]["theta"]).abs().max() > 0.01


def smooth_network() -> Network:
    """1-12-1 with tanh: smooth, so that the inner loop converges to machine precision."""

    def init(generator: torch.Generator) -> Weights:
        w1, w2 = torch.randn((1, 12), generator=generator), torch.randn((12, 1), generator=generator) / 4
        return {"w1": w1, "b1": torch.zeros(12), "w2": w2, "b2": torch.zeros(1)}

    def forward(weights: Weights, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(linear(x, weights["w1"], weights["b1"]))
        return linear(h, weights["w2"], weights["b2"]).squeeze(-1)

    return Network(init, forward, squared_error)


def test_imamls_gradient_of_a_network_is_the_unrolled_one(waves):
    network = smooth_network()
    theta = double(network.init(seeded(0)))
    learner = IMAML(network, alpha=0.02, steps=600, strength=8.0, solves=40)
    phi = adapt(learner, theta, waves.support_x, waves.support_y)
    gradient = support_gradient(learner, phi, waves.support_x, waves.support_y)
    assert all((g + 8.0 * (phi[name] - theta[name])).abs().max() < 1e-10 for name, g in gradient.items())  # converged
    implicit, _ = learner.gradient_of_sum(theta, waves)
    unrolled, _ = Learner.gradient_of_sum(learner, theta, waves)
    assert_close(implicit, unrolled, rtol=1e-7)


def test_conjugate_gradients_solve_each_tasks_own_system():
    """Three tasks of five unknowns in two tensors: five iterations suffice, and more change nothing."""
    generator = seeded(0)
    root = torch.randn((3, 5, 5), generator=generator, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(5, dtype=torch.float64)
    b = torch.randn((3, 5), generator=generator, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, b)

    def product(v: Weights) -> Weights:
        image = (matrix @ torch.cat([v["a"].flatten(1), v["b"]], 1)[..., None])[..., 0]
        return {"a": image[:, :4].view(3, 2, 2), "b": image[:, 4:]}

    for iterations in (5, 9):
        x = conjugate_gradients(product, {"a": b[:, :4].view(3, 2, 2), "b": b[:, 4:]}, iterations)
        torch.testing.assert_close(torch.cat([x["a"].flatten(1), x["b"]], 1), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("wrong", [{"strength": 0.0}, {"solves": 0}])
def test_invalid_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        replace(IMAML(sinusoid_network(), ALPHA), **wrong)


@pytest.mark.parametrize("learner", [Reptile, IMAML])
def test_where_the_adapted_weights_end_up_takes_a_step_of_every_weight(learner):
    """Reptile and iMAML refuse no step, and frozen weights: batch norm's betas, ANIL's body, a module's first layer."""
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        learner(sinusoid_network(), ALPHA, steps=0)
    of_module = Network.from_module(nn.Sequential(nn.Linear(1, 3), nn.Linear(3, 1)), nn.MSELoss(), frozen="0")
    networks = {"0.bias": of_module, "beta1": mlp_network(5), "b1": adapt_head_only(sinusoid_network())}
    for name, network in networks.items():
        with pytest.raises(ValueError, match=f"every weight must adapt.* freezes {name}: pass adapt_everything") as refusal:
            learner(network, ALPHA)
        assert "\n" not in str(refusal.value)
        assert learner(adapt_everything(network), ALPHA).network.frozen == frozenset()


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_variant_learns(variant):
    """Built by name from the sinusoid recipe: the loss after adaptation falls, and the result can be evaluated."""
    recipe = replace(find_recipe("sinusoid-10shot"), variant=variant, inner_steps=2, meta_learning_rate=5e-3)
    learner = recipe.build_learner()
    trainer = make_trainer(learner, recipe.build_tasks(), seeded(0), 8, learning_rate=recipe.meta_learning_rate)
    losses = trainer.run(40 if variant == "imaml" else 150)
    if variant != "imaml":  # it needs a loss that is convex near theta, and is tested separately below
        assert losses[-20:].mean() < 0.9 * losses[:20].mean()
    assert trainer.theta.keys() == learner.network.init(seeded(0)).keys()
    scores = evaluate(learner, trainer.theta, recipe.build_tasks(), [0, 1, 4], seeded(1), test_tasks=4)
    assert all(score.isfinite().all() for score in scores.values())


def test_imamls_gradient_is_a_descent_direction(waves):
    network = smooth_network()
    theta = double(network.init(seeded(0)))
    learner = IMAML(network, alpha=0.02, steps=300, strength=8.0, solves=20)
    gradient, losses = learner.gradient_of_sum(theta, waves)
    moved = {name: w - 1e-3 * gradient[name] for name, w in theta.items()}
    expected = losses.sum() - 1e-3 * sum((g**2).sum() for g in gradient.values())
    after = learner.losses(moved, waves).sum()
    assert after < losses.sum()
    assert after.item() == pytest.approx(expected.item(), rel=0.02)


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="variant must be one of maml, anil.*not 'mamo'"):
        replace(find_recipe("sinusoid-10shot"), variant="mamo")


def _adaptable(network: Network) -> set[str]:
    return {name for name in network.init(seeded(0)) if name not in network.frozen}


@pytest.mark.parametrize("variant", LEARNERS)
@pytest.mark.parametrize("adapts", [what for what in CHOICES if what != "everything"])
def test_what_adapts_is_followed_or_refused(variant, adapts):
    recipe = replace(find_recipe("omniglot-5way-1shot"), variant=variant)
    if variant in CHOOSES_ITSELF:
        with pytest.raises(
            ValueError, match=f"variant '{variant}' decides itself what adapts.*leave adapts at 'everything'"
        ):
            replace(recipe, adapts=adapts)
        return
    adapted = replace(recipe, adapts=adapts).build_learner().network
    maml = adapting(conv_network(5), adapts)
    assert _adaptable(adapted) == _adaptable(maml) != _adaptable(conv_network(5))


def test_what_the_others_adapt_is_as_their_refusal_says():
    adapted = {}
    for variant in CHOOSES_ITSELF:
        adapted[variant] = _adaptable(replace(find_recipe("omniglot-5way-1shot"), variant=variant).build_learner().network)
    layers = {"everything": set(conv_network(5).init(seeded(0))), "the last layer": {"w5", "b5"}, "nothing": set()}
    assert adapted == {variant: layers[what] for variant, what in CHOOSES_ITSELF.items()}
