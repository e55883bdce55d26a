"""Which weights adapt, and what the recipes combine it with: learned alphas, a schedule, an average of theta."""

import math
from dataclasses import replace

import pytest
import torch

from maml_core import reference
from maml_core.engine.block import block_of_iterations
from maml_core.learners.adapting import CHOICES, adapting
from maml_core.learners.variants import LearnedAlphas, MAMLPlusPlus, adapt_head_only, with_alphas
from maml_core.maml import Learner, adapt, meta_gradient
from maml_core.meta_update import MetaUpdate, adam, averaged, no_moments, scheduled
from maml_core.networks import Network, conv_network, cross_entropy, mlp_network, sinusoid_network
from maml_core.recipes import RECIPES
from maml_core.tasks import CharacterTasks
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.training import checkpoints
from maml_core.util import seeded_generator as seeded
from tests.small import SMALL, make_trainer, small_train

ADAPTS = {
    ("conv", "everything"): {"conv1", "conv2", "conv3", "conv4", "w5", "b5"},
    ("conv", "body"): {"conv1", "conv2", "conv3", "conv4"},
    ("conv", "head"): {"w5", "b5"},
    ("conv", "last block"): {"conv4"},
    ("mlp", "last block"): {"w4"},
    ("sinusoid", "last block"): {"w2", "b2"},
    ("sinusoid", "body"): {"w1", "b1", "w2", "b2"},
}
NETWORKS = {"conv": conv_network(5, filters=4), "mlp": mlp_network(5), "sinusoid": sinusoid_network()}


@pytest.fixture(scope="module")
def tasks() -> CharacterTasks:
    return CharacterTasks(draw_glyphs(20), ways=5, shots=1)


def double(theta):
    return {name: w.double() for name, w in theta.items()}


@pytest.mark.parametrize("network, what", ADAPTS)
def test_all_but_the_adapting_weights_are_frozen(network, what):
    part = adapting(NETWORKS[network], what)
    assert part.init(seeded(0)).keys() - part.frozen == ADAPTS[network, what]


@pytest.mark.parametrize("what", CHOICES)
def test_the_meta_gradient_matches_the_plain_loop(tasks, what):
    """Which freezes the same weights, adapts one task at a time and differentiates by autograd, in float64."""
    network = adapting(NETWORKS["conv"], what)
    theta, episodes = double(network.init(seeded(1))), tasks.sample(3, seeded(2)).to(dtype=torch.float64)
    ours, _ = meta_gradient(Learner(network, 0.1, 2, "mean"), theta, episodes)
    loss = reference.mean_cross_entropy(reference.conv_forward)
    theirs = reference.meta_gradient(loss, loss, theta, episodes, 0.1, 2, network.frozen)
    for name, g in theirs.items():
        torch.testing.assert_close(ours[name], g, rtol=1e-9, atol=1e-11)


def test_anil_adapts_the_head():
    network = NETWORKS["conv"]
    assert adapt_head_only(network).frozen == adapting(network, "head").frozen


def test_invalid_choices_are_refused():
    with pytest.raises(ValueError, match="adapts must be one of everything, body, head, last block, not 'tail'"):
        adapting(NETWORKS["conv"], "tail")
    unnumbered = Network(lambda generator: {"weight": torch.zeros(2)}, lambda weights, x: x, cross_entropy)
    with pytest.raises(ValueError, match="'weight' does not end in a layer number: rename it"):
        adapting(unnumbered, "head")
    single = Network(lambda generator: {"w1": torch.zeros(2)}, lambda weights, x: x, cross_entropy)
    for what in ("body", "last block"):
        with pytest.raises(ValueError, match="has only 1 layer.*choose 'everything'"):
            adapting(single, what)
    with pytest.raises(ValueError, match="adapts must be one of"):
        replace(RECIPES["omniglot-5way-1shot"], adapts="tail")
    with pytest.raises(ValueError, match="schedule must be one of constant, cosine"):
        replace(SMALL, schedule="linear")


# Learned alphas.


def test_equal_alphas_are_maml(tasks):
    network, alpha = NETWORKS["conv"], 0.1
    layered = with_alphas(network, alpha, steps=2)
    theta = double(layered.init(seeded(1)))
    theta |= {name: torch.full_like(w, alpha) for name, w in theta.items() if name.startswith("alpha.")}
    episodes = tasks.sample(3, seeded(2)).to(dtype=torch.float64)
    ours = meta_gradient(LearnedAlphas(layered, alpha, 2, "mean"), theta, episodes)[0]
    theirs = meta_gradient(Learner(network, alpha, 2, "mean"), {n: theta[n] for n in network.init(seeded(0))}, episodes)[0]
    for name, g in theirs.items():
        torch.testing.assert_close(ours[name], g, rtol=1e-9, atol=1e-11)
    last_only = MAMLPlusPlus(layered, alpha, 2, "mean", importance=(0, 1))
    for name, g in meta_gradient(last_only, theta, episodes)[0].items():
        torch.testing.assert_close(ours[name], g, rtol=1e-9, atol=1e-11)


def test_the_fast_recipe_adapts_only_the_last_block(tasks):
    recipe = RECIPES["omniglot-20way-1shot-fast"]
    learner = replace(recipe, ways=5).build_learner()
    theta, episodes = learner.network.init(seeded(0)), tasks.sample(2, seeded(1))
    phi = adapt(learner, theta, episodes.support_x, episodes.support_y)
    moved = {name for name, w in theta.items() if not torch.equal(phi[name].expand(2, *w.shape), w.expand(2, *w.shape))}
    assert moved == {"conv4"} and theta["alpha.conv4"].tolist() == [1.0]


# The learning rate's schedule.


def test_the_schedule_is_half_a_cosine():
    for steps, factor in ((0, 1.0), (5, 0.5), (10, 0.0), (15, 0.0)):
        assert scheduled(0.2, torch.tensor(float(steps)), 10) == pytest.approx(0.2 * factor, abs=1e-8)
    assert scheduled(0.2, torch.tensor(3.0), None) == 0.2


def test_adam_with_the_schedule_matches_torch():
    theta, horizon = {"w": torch.randn(5, 3, generator=seeded(0))}, 8
    theirs = theta["w"].clone()
    optimizer, moments = torch.optim.Adam([theirs], lr=0.01), no_moments(theta)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, horizon)
    generator = seeded(1)
    for _ in range(horizon):
        theirs.grad = torch.randn(5, 3, generator=generator)
        theta, moments = adam(theta, {"w": theirs.grad}, moments, scheduled(0.01, moments.steps, horizon))
        optimizer.step()
        schedule.step()
        torch.testing.assert_close(theta["w"], theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_steps_are_counted_in_every_dtype(dtype):
    """1,000 of them, as a plain counter does, and half a cosine that ends at a learning rate of 0."""
    update, gradient = MetaUpdate(0.5, horizon=1000), {"w": torch.ones(2, dtype=dtype)}
    state = update.start({"w": torch.zeros(2, dtype=dtype)})
    for number in range(1000):
        assert state.moments.steps.item() == number
        rate = scheduled(0.5, state.moments.steps, 1000)
        assert float(rate) == pytest.approx(0.25 * (1 + math.cos(math.pi * number / 1000)), abs=1e-6)
        state = update.move(state, gradient)
    assert state.moments.steps.item() == 1000 and scheduled(0.5, state.moments.steps, 1000) == 0
    assert state.theta["w"].dtype == state.moments.first["w"].dtype == dtype
    assert torch.equal(update.move(state, gradient).theta["w"], state.theta["w"])


def test_a_resumed_run_continues_the_cosine(tmp_path):
    recipe = replace(SMALL, schedule="cosine", meta_iterations=20)
    straight = small_train(tmp_path / "straight", 20, recipe=recipe)
    small_train(tmp_path / "stopped", 10, recipe=recipe)
    resumed = small_train(tmp_path / "stopped", 20, recipe=recipe, resume=True)
    assert all(torch.equal(resumed["theta"][name], w) for name, w in straight["theta"].items())
    constant = small_train(tmp_path / "constant", 20, recipe=replace(recipe, schedule="constant"))
    assert not torch.equal(constant["theta"]["w1"], straight["theta"]["w1"])


def test_eager_steps_and_blocks_follow_the_same_schedule():
    """A block of meta-iterations in one call, as in the compiled engine but uncompiled, against single ones."""
    settings = dict(generator=seeded(0), meta_batch=4, horizon=6)
    single = make_trainer(SMALL.build_learner(), SMALL.build_tasks(), **settings)
    single.run(6)
    block = make_trainer(SMALL.build_learner(), SMALL.build_tasks(), **(settings | {"generator": seeded(0)}))
    iterations = block_of_iterations(block.learner, block.tasks, block.meta_batch, block.update)
    state, _ = iterations(block._state, block._draw(6))
    torch.testing.assert_close(state.theta, single.theta, rtol=1e-5, atol=1e-6)
    last = make_trainer(SMALL.build_learner(), SMALL.build_tasks(), **(settings | {"generator": seeded(0)}))
    last.run(6)
    before = {name: w.clone() for name, w in last.theta.items()}
    last.run(1)  # past the horizon: a learning rate of 0
    assert math.isclose(max((last.theta[name] - w).abs().max().item() for name, w in before.items()), 0, abs_tol=1e-12)


# The running average of theta.


def test_the_average_matches_its_closed_form():
    """An iterate weighs what its step added times what later steps kept, min(steps / (9 + steps), decay) each."""
    generator, decay = seeded(0), 0.6
    iterates = [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(21)]
    average = {"w": iterates[0]}
    for steps, w in enumerate(iterates[1:], 1):
        average = averaged(average, {"w": w}, decay, torch.tensor(float(steps)))
    kept = [min(steps / (9 + steps), decay) for steps in range(1, 21)]
    weights = [math.prod(kept), *((1 - kept[i]) * math.prod(kept[i + 1 :]) for i in range(20))]
    assert sum(weights) == pytest.approx(1)
    torch.testing.assert_close(average["w"], sum(a * w for a, w in zip(weights, iterates)), rtol=1e-6, atol=1e-7)


def test_the_average_is_validated_saved_and_resumed(tmp_path):
    recipe = replace(SMALL, averaging=0.9, meta_learning_rate=0.01)
    straight = small_train(tmp_path / "straight", 20, recipe=recipe)
    small_train(tmp_path / "stopped", 10, recipe=recipe)
    resumed = small_train(tmp_path / "stopped", 20, recipe=recipe, resume=True)
    plain = small_train(tmp_path / "plain", 20, recipe=replace(recipe, averaging=None))
    weights = checkpoints.load(tmp_path / "straight" / "weights.pt")["theta"]
    for name, w in straight["theta"].items():
        assert torch.equal(resumed["average"][name], straight["average"][name])
        assert torch.equal(plain["theta"][name], w)  # averaging does not affect theta
        assert torch.equal(weights[name], straight["average"][name]) and not torch.equal(weights[name], w)
    assert straight["history"][-1]["validation"] != plain["history"][-1]["validation"]
    assert plain["average"] == {}


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, math.nan])
def test_invalid_averaging_is_refused(share):
    for make in (lambda: replace(SMALL, averaging=share), lambda: MetaUpdate(averaging=share)):
        with pytest.raises(ValueError, match="averaging must lie between 0 and 1, not"):
            make()
