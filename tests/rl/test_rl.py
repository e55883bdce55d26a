"""Reinforcement learning against plain loops, autograd, finite differences and closed forms, in float64."""

import json
import math
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from maml_core import __main__ as cli
from maml_core.figures import navigation as pictures
from maml_core.maml import stack
from maml_core.results import load_study, shipped
from maml_core.results.comparisons import navigation_table, pointmass_table
from maml_core.rl import baseline, evaluation, navigation, policy, reinforce, training, trpo
from maml_core.rl.navigation import GOAL_RADIUS, MAX_VELOCITY, Trajectories, draw_goals, draw_noise, roll_out
from maml_core.rl.training import POLICIES, PolicyRecipe
from maml_core.studies import navigation as study
from maml_core.studies import registry
from maml_core.training import checkpoints
from tests.small import read_page
from tests.test_maml import assert_equal_gradients

SMALL = policy.navigation_policy((2, 5, 5, 2))
T, B, H = 3, 4, 6


def to_double(weights):
    return {name: w.double() for name, w in weights.items()}


@pytest.fixture
def theta(generator):
    """Weights of the small policy for which no derivative vanishes."""
    weights = to_double(SMALL.init(generator))
    return {name: w + 0.3 * torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in weights.items()}


@pytest.fixture
def goals(generator):
    return draw_goals(T, generator).double()


@pytest.fixture
def noises(generator):
    return [draw_noise(T, B, generator, H).double() for _ in range(2)]


def always(action: tuple[float, float]) -> policy.Policy:
    """A policy that takes the same action everywhere."""
    return policy.gaussian(lambda generator: {}, lambda weights, x: torch.tensor(action).expand_as(x))


NO_NOISE = {"log_std": torch.full((2,), -30.0)}


# The environment.


def test_velocities_are_clipped_to_that_of_an_action_of_one():
    goals = torch.tensor([[0.5, -0.5]])
    seen = roll_out(always((7.0, -0.5)), NO_NOISE, goals, torch.zeros(1, 2, 3, 2))
    expected = torch.tensor([[0.0, 0.0], [MAX_VELOCITY, -0.05], [2 * MAX_VELOCITY, -0.10]])
    torch.testing.assert_close(seen.positions[0, 0], expected)
    torch.testing.assert_close(seen.actions[0, 0], torch.tensor([[7.0, -0.5]]).expand(3, 2))  # before clipping
    assert seen.rewards[0, 1, 0].item() == pytest.approx(-((0.5 - 0.1) ** 2) - (0.5 - 0.05) ** 2)


def test_an_episode_ends_within_a_hundredth_of_the_goal():
    """The robot passes one goal at a distance of 0.009, the other at 0.011: only the first ends an episode."""
    goals = torch.tensor([[0.2, 0.009], [0.2, 0.011]])
    seen = roll_out(always((1.0, 0.0)), NO_NOISE, goals, torch.zeros(2, 1, 5, 2))
    assert GOAL_RADIUS == 0.01
    assert seen.alive[:, 0].tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert seen.rewards[0, 0, 2:].eq(0).all() and seen.rewards[0, 0, 1].item() == pytest.approx(-(0.009**2), rel=1e-3)
    torch.testing.assert_close(seen.ends[:, 0], torch.tensor([[0.2, 0.0], [0.5, 0.0]]))


REWARDS = {"squared distance": lambda squared: -squared, "distance": lambda squared: -(squared**0.5)}


@pytest.mark.parametrize("reward", REWARDS)
def test_rollouts_match_a_plain_loop(theta, goals, noises, reward):
    phi = {name: w + 0.1 * torch.arange(T, dtype=w.dtype).view(T, *[1] * w.dim()) for name, w in theta.items()}
    seen = roll_out(SMALL, phi, goals, noises[0], reward)
    for i in range(T):
        for b in range(B):
            position, total = torch.zeros(2, dtype=torch.float64), 0.0
            for t in range(H):
                h = torch.relu(position @ phi["w1"][i] + phi["b1"][i])
                h = torch.relu(h @ phi["w2"][i] + phi["b2"][i])
                mean = h @ phi["w3"][i] + phi["b3"][i]
                action = mean + phi["log_std"][i].exp() * noises[0][i, b, t]
                torch.testing.assert_close(seen.actions[i, b, t], action)
                position = position + (0.1 * action).clamp(-0.1, 0.1)
                total += REWARDS[reward](((position - goals[i]) ** 2).sum()).item()
            torch.testing.assert_close(seen.ends[i, b], position)
            assert seen.returns()[i, b].item() == pytest.approx(total)


@pytest.mark.parametrize("reward", REWARDS)
def test_robots_stop_where_a_step_by_step_loop_stops_them(generator, reward):
    """Some robots of the first two tasks stop at their goal; those of the third never do."""
    network = policy.navigation_policy()
    theta = to_double(network.init(generator))
    goals = torch.tensor([[0.0, 0.11], [-0.05, 0.02], [9.0, 9.0]]).double()
    noise = draw_noise(T, 40, generator).double()
    seen = roll_out(network, theta, goals, noise, reward)
    assert not seen.alive[0].all() and not seen.alive[1].all() and seen.alive[2].all()
    position, alive = torch.zeros_like(noise[:, :, 0]), torch.ones_like(noise[:, :, 0, 0])
    for t in range(noise.shape[2]):
        torch.testing.assert_close(seen.positions[:, :, t], position)
        assert torch.equal(seen.alive[:, :, t], alive)
        mean, log_std = network.forward(theta, position).chunk(2, -1)
        action = mean + log_std.exp() * noise[:, :, t]
        torch.testing.assert_close(seen.actions[:, :, t] * alive[..., None], action * alive[..., None])
        position = position + alive[..., None] * (MAX_VELOCITY * action).clamp(-MAX_VELOCITY, MAX_VELOCITY)
        squared = ((position - goals[:, None]) ** 2).sum(-1)
        torch.testing.assert_close(seen.rewards[:, :, t], REWARDS[reward](squared) * alive)
        alive = alive * (squared >= GOAL_RADIUS**2)
    torch.testing.assert_close(seen.ends, position)


def test_goals_fill_the_unit_square_centred_at_the_origin(generator):
    goals = draw_goals(2000, generator)
    assert goals.abs().max() <= 0.5 and goals.abs().mean(0) == pytest.approx([0.25, 0.25], abs=0.01)


def test_the_best_return_is_an_upper_bound():
    goals = torch.tensor([[0.5, -0.2], [0.0, 0.0]])
    by_hand = -sum((0.5 - 0.1 * t) ** 2 for t in range(1, 6)) - 0.1**2
    assert navigation.best_returns(goals).tolist() == pytest.approx([by_hand, 0.0])
    seen = roll_out(always((1.0, -0.4)), NO_NOISE, goals[:1], torch.zeros(1, 1, 100, 2))
    assert seen.returns().item() < by_hand
    by_hand = -sum(math.hypot(0.5 - 0.1 * t, max(0.2 - 0.1 * t, 0)) for t in range(1, 6))
    assert navigation.best_returns(goals, reward="distance").tolist() == pytest.approx([by_hand, 0.0])


# The policy.


def test_likelihood_and_divergence_match_torch():
    outputs = torch.randn((2, 7, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    old, new = (torch.distributions.Normal(o[..., :2], o[..., 2:].exp()) for o in outputs)
    actions = old.mean + old.stddev
    torch.testing.assert_close(policy.negative_log_likelihood(outputs[1], actions), -new.log_prob(actions).sum(-1))
    exact = torch.distributions.kl_divergence(old, new).sum(-1)
    torch.testing.assert_close(policy.divergence(outputs[0], outputs[1]), exact)


# Returns, baseline, advantages.


def test_discounted_returns_match_explicit_sums():
    rewards = torch.randn((2, 3, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = baseline.discounted_returns(rewards, 0.9)
    for t in range(5):
        total = sum(0.9 ** (k - t) * rewards[..., k] for k in range(t, 5))
        torch.testing.assert_close(found[..., t], total)


def test_baseline_matches_each_tasks_least_squares(generator):
    """Ridge regression as least squares with extra rows sqrt(ridge) I, one task at a time."""
    inputs = torch.randn((T, 50, 8), generator=generator, dtype=torch.float64)
    returns = torch.randn((T, 50), generator=generator, dtype=torch.float64)
    found = baseline.fit_baseline(inputs, returns)
    for i in range(T):
        a = torch.cat([inputs[i], baseline.RIDGE**0.5 * torch.eye(8, dtype=torch.float64)])
        y = torch.cat([returns[i], torch.zeros(8, dtype=torch.float64)])
        torch.testing.assert_close(found[i], torch.linalg.lstsq(a, y[:, None]).solution[:, 0])


def test_advantages_match_a_plain_loop_and_ignore_steps_after_the_end(generator):
    """One trajectory of the second task ends early: its remaining steps must affect neither the fit nor the mean."""
    shape = (2, 3, 7)
    alive = torch.ones(shape, dtype=torch.float64)
    alive[1, 2, 3:] = 0
    positions = torch.randn((*shape, 2), generator=generator, dtype=torch.float64)
    rewards = torch.randn(shape, generator=generator, dtype=torch.float64) * alive
    found = baseline.advantages(Trajectories(positions, positions, rewards, alive, positions[:, :, 0]), 0.9)
    for i in range(2):
        rows, returns = [], []
        for b in range(3):
            length = int(alive[i, b].sum())
            for t in range(length):
                x, y = positions[i, b, t].tolist()
                time = t / 100
                rows.append([x, y, x * x, y * y, time, time**2, time**3, 1.0])
                returns.append(sum(0.9 ** (k - t) * rewards[i, b, k].item() for k in range(t, length)))
        a, y = torch.tensor(rows, dtype=torch.float64), torch.tensor(returns, dtype=torch.float64)
        coefficients = torch.linalg.solve(a.T @ a + 1e-5 * torch.eye(8, dtype=torch.float64), a.T @ y)
        residual = y - a @ coefficients
        expected = (residual - residual.mean()) / residual.std(correction=0)
        torch.testing.assert_close(found[i][alive[i] > 0], expected, rtol=1e-6, atol=1e-6)
    assert found[1, 2, 3:].eq(0).all()


# The inner step.


def one_task(batch: reinforce.Batch, i: int) -> reinforce.Batch:
    return reinforce.Batch(*(t[i : i + 1] for t in (batch.x, batch.actions, batch.advantage, batch.weight)))


def plain_loss(weights, batch: reinforce.Batch, i: int):
    """REINFORCE's loss of one task, without a task axis, by torch's distributions."""
    h = torch.relu(batch.x[i] @ weights["w1"] + weights["b1"])
    h = torch.relu(h @ weights["w2"] + weights["b2"])
    normal = torch.distributions.Normal(h @ weights["w3"] + weights["b3"], weights["log_std"].exp())
    return -(normal.log_prob(batch.actions[i]).sum(-1) * batch.advantage[i]).mean()


def plain_step(weights, batch, i, alpha, create_graph=True):
    gradient = torch.autograd.grad(plain_loss(weights, batch, i), list(weights.values()), create_graph=create_graph)
    return {name: w - alpha * g for (name, w), g in zip(weights.items(), gradient)}


def test_policy_step_matches_a_loop_over_tasks(theta, goals, noises):
    batch = reinforce.as_batch(roll_out(SMALL, stack(SMALL, theta, T), goals, noises[0]))
    stepped = reinforce.policy_step(SMALL, stack(SMALL, theta, T), batch, 0.7)
    for i in range(T):
        own = {name: w.clone().requires_grad_() for name, w in theta.items()}
        expected = plain_step(own, batch, i, 0.7)
        for name, w in expected.items():
            torch.testing.assert_close(stepped[name][i], w.detach(), rtol=1e-10, atol=1e-12)


def test_policy_gradient_matches_finite_differences(theta, goals, noises):
    batch = one_task(reinforce.as_batch(roll_out(SMALL, theta, goals, noises[0])), 1)
    gradient = torch.func.grad(lambda w: reinforce.policy_loss(SMALL, w, batch).sum())(theta)
    for name in ("w3", "b1", "log_std"):
        for place in range(2):
            shift = torch.zeros_like(theta[name])
            shift.view(-1)[place] = 1e-6
            moved = (theta | {name: theta[name] + sign * shift} for sign in (1, -1))
            high, low = (reinforce.policy_loss(SMALL, weights, batch).item() for weights in moved)
            assert gradient[name].view(-1)[place].item() == pytest.approx((high - low) / 2e-6, rel=1e-5, abs=1e-8)


def test_score_function_gradient_is_unbiased_on_a_bandit():
    """One action a from N(m, s^2) with reward -(a - c)^2: the expected return is -(m - c)^2 - s^2."""
    mean, log_std, c = 0.3, -0.5, 1.0
    outputs = torch.tensor([mean, log_std], dtype=torch.float64, requires_grad=True)
    noise = torch.randn((400_000, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    actions = mean + math.exp(log_std) * noise
    reward = -((actions[:, 0] - c) ** 2)
    loss = (policy.negative_log_likelihood(outputs.expand(len(noise), 2), actions) * reward).mean()
    (found,) = torch.autograd.grad(loss, outputs)
    exact = [2 * (mean - c), 2 * math.exp(2 * log_std)]  # of the negative expected return
    assert found.tolist() == pytest.approx(exact, abs=0.02)
    assert min(abs(g) for g in exact) > 0.5


# The outer step.


def objective(theta, goals, noises, alpha=0.7, steps=1, first_order=False) -> trpo.Objective:
    seen, _ = reinforce.adapt(SMALL, stack(SMALL, theta, T), goals, noises[: steps + 1], [alpha] * steps)
    *inner, outer = (reinforce.as_batch(trajectories) for trajectories in seen)
    return trpo.Objective(SMALL, theta, inner, outer, alpha, first_order)


@pytest.mark.parametrize("first_order", [False, True], ids=["second", "first"])
def test_meta_gradient_matches_a_loop_over_tasks(theta, goals, noises, first_order):
    ours = objective(theta, goals, noises, first_order=first_order)
    gradient, _ = ours.gradient()
    own = {name: w.clone().requires_grad_() for name, w in theta.items()}
    total = 0.0
    for i in range(T):
        phi = plain_step(own, ours.inner[0], i, 0.7, create_graph=not first_order)
        outputs = SMALL.forward({name: w[None] for name, w in phi.items()}, ours.outer.x[i : i + 1])
        log = torch.distributions.Normal(outputs[0, :, :2], outputs[0, :, 2:].exp()).log_prob(ours.outer.actions[i]).sum(-1)
        total = total - ((log - log.detach()).exp() * ours.outer.advantage[i]).mean() / T
    expected = dict(zip(own, torch.autograd.grad(total, list(own.values()))))
    assert_equal_gradients(gradient, expected)


def test_second_order_differs_from_first_order(theta, goals, noises):
    flat = [torch.cat([g.flatten() for g in objective(theta, goals, noises, first_order=first).gradient()[0].values()])
            for first in (False, True)]  # fmt: skip
    assert (flat[0] - flat[1]).norm() > 0.01 * flat[0].norm()


@pytest.mark.parametrize("steps", [0, 1])
def test_fisher_product_matches_the_full_hessian_of_the_mean_kl(theta, goals, noises, steps):
    """Although it needs no third derivatives, since the KL has its minimum, 0, at theta."""
    ours = objective(theta, goals, noises, steps=steps)
    sizes = [w.numel() for w in theta.values()]

    def mean_kl(vector):
        parts = zip(theta.items(), vector.split(sizes))
        return ours.kl(ours.outputs({name: part.view(w.shape) for (name, w), part in parts}))

    vector = torch.cat([w.flatten() for w in theta.values()])
    hessian = torch.func.hessian(mean_kl)(vector)
    direction = torch.randn(vector.shape, generator=torch.Generator().manual_seed(1), dtype=vector.dtype)
    parts = {name: part.view(w.shape) for (name, w), part in zip(theta.items(), direction.split(sizes))}
    product = torch.cat([w.flatten() for w in ours.fisher()(parts).values()])
    assert (product - hessian @ direction).norm() < 1e-9 * product.norm()


def test_surrogate_and_kl_at_theta_are_zero(theta, goals, noises):
    ours = objective(theta, goals, noises)
    outputs = ours.outputs(theta)
    assert ours.kl(outputs).item() == pytest.approx(0, abs=1e-14)
    assert ours.surrogate(outputs).item() == pytest.approx(0, abs=1e-12)  # advantages have mean 0


@pytest.mark.parametrize("steps", [0, 1])
def test_trpo_lowers_the_surrogate_within_its_limit(theta, goals, noises, steps):
    ours = objective(theta, goals, noises, steps=steps)
    for delta in (0.001, 0.01):
        moved, report = trpo.trpo_step(ours, trpo.Settings(delta=delta, thin=1))
        outputs = ours.outputs(moved)
        assert ours.surrogate(outputs).item() == pytest.approx(report.after) and report.after < report.before - 1e-4
        assert ours.kl(outputs).item() == pytest.approx(report.kl) and 0.1 * delta < report.kl <= delta
        assert report.tries >= 1


def test_trpo_keeps_theta_if_the_gradient_vanishes(theta, goals, noises):
    ours = objective(theta, goals, noises)
    outer = replace(ours.outer, advantage=torch.zeros_like(ours.outer.advantage))
    moved, report = trpo.trpo_step(trpo.Objective(SMALL, theta, ours.inner, outer, 0.7))
    assert moved is theta and report.tries == 0


def test_weights_of_a_thinned_batch_sum_to_one(theta, goals, noises):
    batch = reinforce.as_batch(roll_out(SMALL, theta, goals, noises[0]))
    thin = batch.thin(5)
    assert thin.x.shape == (T, -(-B * H // 5), 2) and torch.equal(thin.x[:, 1], batch.x[:, 5])
    torch.testing.assert_close(thin.weight.sum(1), torch.ones(T, dtype=torch.float64))


# Training and evaluation.

TINY = PolicyRecipe("maml", meta_batch=2, trajectories=3)


def test_an_interrupted_run_ends_the_same(tmp_path):
    silent = {"log": lambda text: None}
    whole = training.train_policy(TINY, tmp_path / "whole", 3, **silent)
    training.train_policy(TINY, tmp_path / "parts", 1, **silent)
    parts = training.train_policy(TINY, tmp_path / "parts", 3, **silent)
    assert [row["iteration"] for row in parts["history"]] == [1, 2, 3] and parts["history"] == whole["history"]
    assert all(torch.equal(parts["theta"][name], w) for name, w in whole["theta"].items())
    with pytest.raises(ValueError, match="another recipe or seed: choose another --out"):
        training.train_policy(TINY, tmp_path / "parts", 3, seed=1, **silent)
    with pytest.raises(ValueError, match="past the 2 .*move it away"):
        training.train_policy(TINY, tmp_path / "parts", 2, **silent)


def test_a_run_from_a_gpu_goes_on_here(tmp_path):
    """With other random numbers, as a GPU's generator cannot be continued on a CPU."""
    path = tmp_path / training.FILE
    training.train_policy(TINY, tmp_path, 1, log=lambda text: None)
    checkpoints.save(checkpoints.load(path) | {"generator": torch.zeros(16, dtype=torch.uint8)}, path)
    assert training.train_policy(TINY, tmp_path, 2, log=lambda text: None)["iteration"] == 2


def test_a_policy_of_ones_own_is_published_with_its_own_settings(tmp_path, monkeypatch, capsys):
    """Under a name of the package's, a run with other settings is refused."""
    monkeypatch.setattr(study, "POLICY_FOLDER", tmp_path / "shipped")
    small = {"goals": 2, "trajectories": 2}
    monkeypatch.setattr(study, "evaluate_policy", lambda *given, **how: evaluation.evaluate_policy(*given, **how, **small))
    for name in ("mine", "maml"):
        training.train_policy(replace(TINY, name=name, alpha=0.3), tmp_path / name, 1, log=lambda text: None)
    assert cli.main(["publish", str(tmp_path / "mine")]) == 0
    record = json.loads((tmp_path / "shipped" / "mine-1.json").read_text())
    assert record["evaluation"]["alpha"] == record["recipe"]["alpha"] == 0.3
    assert cli.main(["publish", str(tmp_path / "maml")]) == 2
    assert "maml is not the policy maml of the package: give its PolicyRecipe a name of its own." in capsys.readouterr().err
    assert [path.stem for path in (tmp_path / "shipped").glob("*.pt")] == ["mine-1"]


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"alpha": 0.0}, "alpha must be greater than 0"),
        ({"alpha": float("nan")}, "alpha must be greater than 0"),
        ({"inner_steps": -1}, "inner_steps must be at least 0"),
        ({"meta_batch": 0}, "meta_batch must be at least 1"),
        ({"trajectories": 1}, "trajectories must be at least 2"),
        ({"meta_iterations": 0}, "meta_iterations must be at least 1"),
        ({"reward": "sparse"}, "reward"),
    ],
)
def test_invalid_settings_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        PolicyRecipe("mine", **changes)


def test_invalid_numbers_of_goals_trajectories_and_iterations_are_refused(generator, tmp_path):
    with pytest.raises(ValueError, match="tasks must be at least 1"):
        draw_goals(0, generator)
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        draw_noise(1, 1, generator, 0)
    with pytest.raises(ValueError, match="goals must be at least 2"):
        evaluation.evaluate_policy(SMALL, SMALL.init(generator), 0.1, goals=1)
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        training.train_policy(TINY, tmp_path, 0)
    with pytest.raises(FileNotFoundError, match="No policy nobody is shipped"):
        shipped.load_policy("nobody")


def test_evaluation_matches_a_plain_loop_over_goals():
    """Returns after 0, 1 and 2 steps, the second with half the step size, for each goal separately."""
    full = policy.navigation_policy()
    theta = full.init(torch.Generator().manual_seed(3))
    scores = evaluation.evaluate_policy(full, theta, 0.4, seed=5, steps=2, goals=3, trajectories=4)
    generator = torch.Generator().manual_seed(5)
    goals = draw_goals(3, generator)
    noises = [draw_noise(3, 4, generator) for _ in range(3)]
    for i in range(3):
        phi = theta
        for step in range(3):
            seen = roll_out(full, phi, goals[i : i + 1], noises[step][i : i + 1])
            assert scores.returns[step, i].item() == pytest.approx(seen.rewards.sum().item() / 4, rel=1e-3)
            gap = (seen.ends[0] - goals[i]).norm(dim=1).mean().item()
            assert scores.distances[step, i].item() == pytest.approx(gap, rel=1e-3)
            own = {name: w.clone().requires_grad_() for name, w in phi.items()}
            phi = {n: w.detach() for n, w in plain_step(own, reinforce.as_batch(seen), 0, (0.4, 0.2, 0.2)[step]).items()}


def test_the_study_runs_end_to_end(tmp_path, monkeypatch, capsys):
    """A small study from the command line; then a training run is published."""
    for name in POLICIES:
        monkeypatch.setitem(POLICIES, name, replace(POLICIES[name], meta_batch=2, trajectories=2))
    small = {"goals": 3, "trajectories": 2}
    monkeypatch.setattr(study, "evaluate_policy", lambda *given, **how: evaluation.evaluate_policy(*given, **how, **small))
    monkeypatch.setattr(study, "tuned_alpha", lambda *arguments: 0.4)
    monkeypatch.setattr(study, "ALPHAS", (0.1, 0.4))
    for module in (shipped, study):
        monkeypatch.setattr(module, "POLICY_FOLDER", tmp_path / "shipped")
    results, out = tmp_path / "navigation.json", tmp_path / "runs"
    arguments = ["--iterations", "2", "--seeds", "4", "--out", str(out), "--results", str(results)]
    assert cli.main(["study", "navigation", *arguments]) == 0
    found = json.loads(results.read_text())
    assert found["study"] == "navigation" and len(found["rows"]) == 2 * 5 + 2
    assert [row["iteration"] for row in found["extra"]["trainings"]] == [1, 2] * 3
    chosen = [(row["condition"], row["alpha"]) for row in found["rows"] if row["chosen"]]
    assert chosen == [("MAML", 0.1)] * 2 + [("first-order MAML", 0.1)] * 2 + [("pretrained", 0.4)] * 2 + [("random", 0.4)]
    best = found["extra"]["best"]
    assert cli.main(["study", "navigation-distance", *arguments]) == 0
    found = json.loads(results.read_text())
    assert [(row["condition"], row["alpha"]) for row in found["rows"]] == [("MAML", 0.1)] * 2 + [
        ("context vector", 0.1)
    ] * 2
    assert found["settings"]["reward"] == "distance" and found["extra"]["best"] < best
    assert cli.main(["publish", str(out / "navigation-maml,iterations=2,seed=4")]) == 0
    assert "maml on 2-D navigation" in capsys.readouterr().out
    theta, record = shipped.load_policy("maml-2")
    assert theta["w1"].shape == (2, 100) and record["seed"] == 4 and len(record["evaluation"]["return"]) == 4


# What is shipped.


def test_the_study_is_registered():
    assert "navigation" in registry.STUDIES


SHIPPED = ("maml-20", "maml-100", "pretrained-20", "pretrained-100")


def study_row(condition: str, iterations: int, seed: int, alpha: float) -> dict:
    about = {"condition": condition, "iterations": iterations, "seed": seed, "alpha": alpha}
    (row,) = (row for row in load_study("navigation").rows if {key: row[key] for key in about} == about)
    return row


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_load_and_match_the_study(name):
    theta, record = shipped.load_policy(name)
    path = shipped.POLICY_FOLDER / f"{name}.pt"
    checkpoints.check_weights(theta, policy.navigation_policy(), path)
    assert "theta" in torch.load(path, weights_only=True)
    assert all(w.isfinite().all() and not w.requires_grad for w in theta.values())
    recipe = PolicyRecipe(**record["recipe"])
    assert recipe == POLICIES[recipe.name] and name == f"{recipe.name}-{record['iteration']}"
    assert len(record["curve"]["after"]) == record["iteration"] and record["wall_seconds"] > 0
    condition = next(label for label, found in study.CONDITIONS.items() if found == recipe.name)
    row = study_row(condition, record["iteration"], record["seed"], record["evaluation"]["alpha"])
    assert row["chosen"] and row["return"] == pytest.approx(record["evaluation"]["return"], rel=1e-3)


def test_all_shipped_policies_are_listed():
    assert {path.stem for path in shipped.POLICY_FOLDER.glob("*.pt")} == set(SHIPPED)


def test_a_shipped_policys_evaluation_is_reproduced():
    """On goals other than the study's, so only up to both intervals."""
    theta, record = shipped.load_policy("maml-20")
    scores = evaluation.evaluate_policy(policy.navigation_policy(), theta, 0.1, seed=7, goals=20, trajectories=20)
    columns = (found[key] for found in (scores.summary(), record["evaluation"]) for key in ("return", "return_ci95"))
    for mean, ci95, was, was_ci95 in zip(*columns):
        assert abs(mean - was) < 1.5 * (ci95 + was_ci95) + 0.2


def test_the_shipped_study_is_complete():
    found = load_study("navigation")
    stages = {"MAML": 2, "first-order MAML": 2, "pretrained": 2, "random": 1}
    for condition, number in stages.items():
        alphas = 1 if condition == "first-order MAML" else len(evaluation.ALPHAS)
        assert sum(row["condition"] == condition for row in found.rows) == number * 2 * alphas
    assert found.settings["goals"] >= 40 and {row["seed"] for row in found.rows} == {0, 1}
    assert all(len(row["return"]) == evaluation.STEPS + 1 for row in found.rows)
    assert sum(row["chosen"] for row in found.rows) == sum(stages.values()) * 2


def test_maml_adapts_in_one_step():
    """The paper's claim about MAML: most of the improvement comes with the first step, and more with the next."""
    for seed in (0, 1):
        for iterations in (20, 100):
            none, one, two, three = study_row("MAML", iterations, seed, 0.1)["return"]
            assert none < -14 and one > -5 and max(two, three) > one
        assert study_row("random", 0, seed, 0.1)["return"][1] < -30


def test_first_order_maml_is_evaluated_only_at_its_training_alpha():
    rows = [row for row in load_study("navigation").rows if row["condition"] == "first-order MAML"]
    assert all(row["chosen"] and row["alpha"] == POLICIES["first-order"].alpha for row in rows)


def test_results_page_has_the_table_and_the_finding():
    page = read_page("docs/results.md")
    assert navigation_table() in page and pointmass_table() in page
    found = page[page.index("### With an alpha of its own") : page.index("### The last block alone")]
    printed = [study_row("MAML", 20, seed, 0.1)["return"][steps] for seed in (0, 1) for steps in (0, 1)]
    printed += [study_row("pretrained", 20, seed, alpha)["return"][1] for seed in (0, 1) for alpha in (0.1, 0.4)]
    assert not [value for value in printed if f"{value:.1f}" not in found]
    assert study_row("pretrained", 20, 0, 0.4)["chosen"] and study_row("pretrained", 20, 1, 0.4)["chosen"]


def test_figures_can_be_drawn():
    """With titles, labels and lines in every axes."""
    matplotlib.use("Agg")
    for draw in (pictures.navigation, pictures.navigation_alpha):
        figure = draw()
        assert all(ax.get_title(loc="left") or ax.get_title() or ax.get_xlabel() for ax in figure.axes)
        assert all(ax.lines for ax in figure.axes)
        plt.close(figure)


def test_a_study_of_no_meta_iterations_is_refused(tmp_path, capsys):
    assert cli.main(["study", "navigation", "--iterations", "0", "--out", str(tmp_path)]) == 2
    assert "iterations must be at least 1, not 0" in capsys.readouterr().err
