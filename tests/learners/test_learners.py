"""Tests that every learner passes; a new learner joins them with one row in ORACLES.

An oracle implements the paper's equations for one task as a plain loop, with PyTorch's autograd in float64: (theta, task)
-> that task's term of the meta-gradient, which is a mean over tasks. The rest follows from the learner's registry entry.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from maml_core import reference
from maml_core.episodes import Episodes
from maml_core.evaluation import evaluate
from maml_core.learners import LEARNERS
from maml_core.maml import Learner, meta_gradient
from maml_core.networks import Network, Weights, conv_network
from maml_core.tasks import CharacterTasks
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.training import checkpoints
from maml_core.util import seeded_generator as seeded
from tests.learners.test_families import by_hand, small_network
from tests.small import make_trainer

WAYS, SHOTS, TASKS, ALPHA, STEPS = 3, 2, 3, 0.05, 2
STRENGTH = 20.0  # iMAML's: large enough for I + H / strength to be positive definite, as conjugate gradients require
BETAS = frozenset(f"beta{i}" for i in range(1, 5))
BODY = frozenset(f"conv{i}" for i in range(1, 5))
Oracle = Callable[[Weights, Episodes], Weights]  # (theta, one task) -> the gradient of its loss with respect to theta


def loss(weights: Weights, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(reference.conv_forward(weights, x), y)


def differentiated(objective: Callable[[Weights, Episodes], torch.Tensor]) -> Oracle:
    """The gradient of a task's loss after adaptation, by autograd through the adaptation."""

    def oracle(theta: Weights, task: Episodes) -> Weights:
        leaves = {name: w.clone().requires_grad_() for name, w in theta.items()}
        gradient = torch.autograd.grad(objective(leaves, task), list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, gradient))

    return oracle


def gradient_steps(frozen: frozenset[str] = BETAS) -> Callable[[Weights, Episodes], torch.Tensor]:
    def objective(theta: Weights, task: Episodes) -> torch.Tensor:
        phi = reference.adapt(loss, theta, task.support_x, task.support_y, ALPHA, STEPS, frozen)
        return loss(phi, task.query_x, task.query_y)

    return objective


def learned_steps(theta: Weights, task: Episodes, by_step: bool) -> list[Weights]:
    """phi after each step, with learned alphas: one per weight entry, or by_step one per layer and step."""
    phi = {name: w for name, w in theta.items() if not name.startswith("alpha.")}
    adapted, after = [name for name in phi if name not in BETAS], []
    for step in range(STEPS):
        gradient = torch.autograd.grad(
            loss(phi, task.support_x, task.support_y), [phi[name] for name in adapted], create_graph=True
        )
        alphas = (theta[f"alpha.{name}"][step] if by_step else theta[f"alpha.{name}"] for name in adapted)
        phi = phi | {name: phi[name] - alpha * g for name, alpha, g in zip(adapted, alphas, gradient)}
        after.append(phi)
    return after


def query_loss(phi: Weights, task: Episodes) -> torch.Tensor:
    return loss(phi, task.query_x, task.query_y)


def reptile(theta: Weights, task: Episodes) -> Weights:
    """(theta - phi) / (alpha * steps), with phi adapted to all of the task's points."""
    x, y = torch.cat([task.support_x, task.query_x]), torch.cat([task.support_y, task.query_y])
    leaves = {name: w.clone().requires_grad_() for name, w in theta.items()}
    phi = reference.adapt(loss, leaves, x, y, ALPHA, STEPS)
    return {name: ((theta[name] - phi[name]) / (ALPHA * STEPS)).detach() for name in theta}


def imaml(theta: Weights, task: Episodes, strength: float = STRENGTH, epsilon: float = 1e-6) -> Weights:
    """(I + H / strength)^-1 g at the end of the regularized inner loop, with the full Hessian by finite differences."""
    names, sizes = list(theta), [w.numel() for w in theta.values()]
    start = torch.cat([w.flatten() for w in theta.values()])

    def gradient(flat: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        leaves = {n: part.view(theta[n].shape).requires_grad_() for n, part in zip(names, flat.detach().split(sizes))}
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss(leaves, x, y), list(leaves.values()))])

    phi, support = start, (task.support_x, task.support_y)
    for _ in range(STEPS):
        phi = phi - ALPHA * (gradient(phi, *support) + strength * (phi - start))
    bumps = epsilon * torch.eye(len(phi), dtype=phi.dtype)
    rows = [(gradient(phi + bump, *support) - gradient(phi - bump, *support)) / (2 * epsilon) for bump in bumps]
    damped = bumps / epsilon + torch.stack(rows) / strength
    solved = torch.linalg.solve(damped, gradient(phi, task.query_x, task.query_y))
    return {name: part.view(theta[name].shape) for name, part in zip(names, solved.split(sizes))}


def reads(name: str) -> Callable[[Weights, Episodes], torch.Tensor]:
    return lambda theta, task: F.cross_entropy(by_hand(name, theta, task, WAYS), task.query_y)


ORACLES: dict[str, Oracle] = {
    "maml": differentiated(gradient_steps()),
    "anil": differentiated(gradient_steps(BETAS | BODY)),
    "meta-sgd": differentiated(lambda theta, task: query_loss(learned_steps(theta, task, by_step=False)[-1], task)),
    "learned-alphas": differentiated(lambda theta, task: query_loss(learned_steps(theta, task, by_step=True)[-1], task)),
    "maml++": differentiated(
        lambda theta, task: sum(query_loss(phi, task) for phi in learned_steps(theta, task, by_step=True)) / STEPS
    ),
    "reptile": reptile,
    "imaml": imaml,
    "prototypes": differentiated(reads("prototypes")),
    "matching": differentiated(reads("matching")),
    "memory": differentiated(reads("memory")),
}


def build(name: str, network: Network = conv_network(WAYS, filters=2), **settings) -> Learner:
    return replace(LEARNERS[name](network, ALPHA, STEPS, "mean"), **settings)


def build_exact(name: str) -> Learner:
    """The learner exactly as its oracle: iMAML with conjugate gradients to convergence, on a network with few weights."""
    if name != "imaml":
        return build(name)
    return build(name, conv_network(WAYS, filters=1), strength=STRENGTH, solves=60)


@pytest.fixture(scope="module")
def tasks() -> CharacterTasks:
    return CharacterTasks(draw_glyphs(12), WAYS, SHOTS)


@pytest.fixture(scope="module")
def episodes(tasks) -> Episodes:
    return tasks.sample(TASKS, seeded(2)).to(dtype=torch.float64)


def perturbed(learner: Learner) -> Weights:
    """theta in float64, perturbed away from its initial zeros; alphas stay near their initial values."""
    generator = seeded(1)
    return {
        name: w.double() + (0.01 if name.startswith("alpha.") else 0.2) * torch.randn(w.shape, generator=generator).double()
        for name, w in learner.network.init(seeded(0)).items()
    }


def test_every_learner_has_an_oracle():
    assert ORACLES.keys() == LEARNERS.keys()


@pytest.mark.parametrize("name", LEARNERS)
def test_the_meta_gradient_matches_the_oracle(name, episodes):
    learner = build_exact(name)
    theta = perturbed(learner)
    ours, losses = meta_gradient(learner, theta, episodes)
    each = [ORACLES[name](theta, task) for task in episodes]
    assert losses.shape == (TASKS,) and ours.keys() == theta.keys()
    for key in theta:
        theirs = sum(gradient[key] for gradient in each) / TASKS
        rtol, atol = (1e-3, 1e-5) if name == "imaml" else (1e-6, 1e-8)  # its Hessian is by finite differences
        torch.testing.assert_close(ours[key], theirs, rtol=rtol, atol=atol, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", LEARNERS)
def test_tasks_are_independent(name, episodes):
    """The meta-gradient in chunks of one task is the same, and so is each task's loss."""
    learner = build(name)
    theta = perturbed(learner)
    together, losses = meta_gradient(learner, theta, episodes)
    alone, each = meta_gradient(learner, theta, episodes, chunk=1)
    torch.testing.assert_close(losses, each, rtol=1e-9, atol=1e-11)
    for key in theta:
        torch.testing.assert_close(together[key], alone[key], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_whole_meta_iteration_is_one_graph(name, tasks, monkeypatch):
    """The compiled engine has no graph breaks, and its meta-iterations equal the eager ones."""
    torch_compile, network = torch.compile, small_network()
    monkeypatch.setattr("maml_core.engine.trainer.has_compiler", lambda: True)
    monkeypatch.setattr(torch, "compile", lambda f, **options: torch_compile(f, fullgraph=True, backend="aot_eager"))
    eager, compiled = (
        make_trainer(build(name, network), tasks, seeded(0), 2, engine=engine) for engine in ("eager", "compiled")
    )
    torch.testing.assert_close(compiled.run(2), eager.run(2), rtol=1e-4, atol=1e-5)
    assert compiled.engine == "compiled"


@pytest.mark.parametrize("name", LEARNERS)
def test_training_resumes_from_a_checkpoint(name, tasks, tmp_path):
    first, second = (make_trainer(build(name), tasks, seeded(seed), 2) for seed in (0, 9))
    first.run(2)
    checkpoints.save(first.state() | {"recipe": {}}, tmp_path / "checkpoint.pt")
    second.load_state(checkpoints.load(tmp_path / "checkpoint.pt"))
    assert torch.equal(first.run(2), second.run(2)) and second.iteration == 4


@pytest.mark.parametrize("name", LEARNERS)
def test_it_can_be_evaluated_after_any_number_of_steps(name, tasks):
    learner = build(name)
    theta = learner.network.init(seeded(0))
    scores = evaluate(learner, theta, tasks, [0, 1, STEPS + 1], seeded(1), test_tasks=4)
    assert all(accuracy.shape == (4,) and 0 <= accuracy.min() and accuracy.max() <= 1 for accuracy in scores.values())


@pytest.mark.parametrize("name", LEARNERS)
def test_the_first_meta_iteration_refuses_mismatched_tasks(name):
    more_ways = CharacterTasks(draw_glyphs(12), WAYS + 2, SHOTS)
    trainer = make_trainer(build(name), more_ways, seeded(0), 2)
    with pytest.raises(ValueError, match="labels range from 0 to 4, but the network has 3 outputs"):
        trainer.run(1)
    assert trainer.iteration == 0
