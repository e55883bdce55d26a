"""The context vector of the paper's appendix: free parameters beside the input, which adapt alone."""

from dataclasses import replace

import pytest
import torch

from maml_core import reference
from maml_core.maml import Learner, adapt, meta_gradient, stack
from maml_core.networks import context_network
from maml_core.recipes import NETWORKS, find_recipe
from maml_core.rl import as_batch, draw_goals, draw_noise, navigation_policy, policy_loss, policy_step, roll_out
from maml_core.rl.training import POLICIES
from maml_core.tasks import CharacterTasks
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.training.autotune import choose_engine, choose_workers
from maml_core.util import seeded_generator as seeded

NETWORK = context_network(5, filters=4)


def double(theta):
    """In float64, and with a z that is not 0, so that no derivative vanishes."""
    theta = {name: w.double() for name, w in theta.items()}
    return theta | {"z0": torch.randn(theta["z0"].shape, generator=seeded(7), dtype=torch.float64)}


def beside(weights, x):
    """The definition, for one task: z is a second channel of every picture [B, 1, 28, 28]."""
    pictures = torch.stack([torch.stack([picture[0], weights["z0"]]) for picture in x])
    return reference.conv_forward(weights, pictures)


def test_the_meta_gradient_matches_the_plain_loop():
    tasks = CharacterTasks(draw_glyphs(20), ways=5, shots=1)
    theta, episodes = double(NETWORK.init(seeded(1))), tasks.sample(3, seeded(2)).to(dtype=torch.float64)
    ours, _ = meta_gradient(Learner(NETWORK, 0.4, 2, "mean"), theta, episodes)
    loss = reference.mean_cross_entropy(beside)
    theirs = reference.meta_gradient(loss, loss, theta, episodes, 0.4, 2, NETWORK.frozen)
    assert ours.keys() == theirs.keys()
    for name, g in theirs.items():
        torch.testing.assert_close(ours[name], g, rtol=1e-9, atol=1e-11)


def test_every_task_moves_its_own_z_and_nothing_else():
    episodes = CharacterTasks(draw_glyphs(20), ways=5, shots=1).sample(3, seeded(2))
    theta = NETWORK.init(seeded(1))
    phi = adapt(Learner(NETWORK, 0.4), theta, episodes.support_x, episodes.support_y)
    assert phi["z0"].shape == (3, 28, 28) and len({z.abs().sum().item() for z in phi["z0"]}) == 3
    assert all(torch.equal(phi[name], theta[name]) for name in theta.keys() - {"z0"})


def test_a_constant_channel_would_be_subtracted_again():
    """Which is why z is a picture: away from the border, one number changes no output of the first block."""
    theta, x = double(NETWORK.init(seeded(1))), torch.rand(4, 1, 28, 28, dtype=torch.float64, generator=seeded(3))
    kernel = theta["conv1"].permute(3, 2, 0, 1)

    def normalized(z):
        h = torch.nn.functional.conv2d(torch.cat([x, torch.full_like(x, z)], 1), kernel, stride=2)
        return torch.nn.functional.batch_norm(h, None, None, training=True)

    torch.testing.assert_close(normalized(0.0), normalized(3.0))


def test_a_policy_with_a_context_matches_a_loop_over_tasks():
    """Mean actions, and a step, of which each task's is autograd's on this task alone."""
    policy = navigation_policy((2, 5, 5, 2), context=3)
    theta, tasks = double(policy.init(seeded(4))), 3
    assert theta["w1"].shape == (5, 5) and policy.frozen == theta.keys() - {"z0"}
    goals, noise = draw_goals(tasks, seeded(5)).double(), draw_noise(tasks, 4, seeded(6), 6).double()
    phi = stack(policy, theta, tasks)
    batch = as_batch(roll_out(policy, phi, goals, noise))
    stepped = policy_step(policy, phi, batch, 0.7)
    for i in range(tasks):
        own = {name: w.clone() for name, w in theta.items()} | {"z0": theta["z0"].clone().requires_grad_()}
        h = torch.cat([batch.x[i], own["z0"].expand(len(batch.x[i]), 3)], 1)
        for layer in ("1", "2"):
            h = torch.relu(h @ own["w" + layer] + own["b" + layer])
        mean = h @ own["w3"] + own["b3"]
        torch.testing.assert_close(policy.mean(phi, batch.x)[i], mean)
        distribution = torch.distributions.Normal(mean, own["log_std"].exp())
        loss = -(batch.weight[i] * distribution.log_prob(batch.actions[i]).sum(-1) * batch.advantage[i]).sum()
        torch.testing.assert_close(policy_loss(policy, phi, batch)[i], loss)
        (gradient,) = torch.autograd.grad(loss, own["z0"])
        torch.testing.assert_close(stepped["z0"][i], theta["z0"] - 0.7 * gradient)
    assert all(torch.equal(stepped[name], theta[name]) for name in policy.frozen)


def test_the_recipe_for_table_4_differs_in_its_context_alone():
    recipe = POLICIES["context-distance"]
    assert recipe.context and replace(recipe, name="maml-distance", context=0) == POLICIES["maml-distance"]
    assert recipe.build_policy().init(seeded(0))["z0"].tolist() == [0.0] * recipe.context
    with pytest.raises(ValueError, match="context must be at least 0, not -1"):
        replace(recipe, context=-1)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_engine_and_its_workers_are_chosen_for_every_network(network):
    names = {"sinusoid": "sinusoid-10shot", "oracle": "sinusoid-oracle", "image": "mini-imagenet-5way-1shot"}
    recipe = replace(find_recipe(names.get(network, "omniglot-5way-1shot")), network=network)
    assert choose_engine(recipe, 1)[0] == "eager" and choose_engine(recipe, 10**6)[0] in ("eager", "compiled")
    assert choose_workers(recipe, 1) in (None, *range(1, 10**6))
