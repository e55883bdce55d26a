"""Learners that read the support set (learners/metric.py, attention.py) against loops and closed forms, in float64."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maml_core import reference
from maml_core.engine.compiling import has_compiler
from maml_core.episodes import Episodes
from maml_core.evaluation import SEES, evaluate, query_outputs, scores_by_step
from maml_core.layers import linear
from maml_core.learners import READERS, Reader
from maml_core.learners.attention import WIDTH, memory
from maml_core.learners.metric import matching, prototypes
from maml_core.learners.reader import HEAD
from maml_core.maml import Learner, adapt, meta_gradient
from maml_core.networks import Network, Weights, conv_network, cross_entropy, sinusoid_network
from maml_core.recipes import RECIPES, find_recipe
from maml_core.studies import StudyContext, families, families_cost
from maml_core.tasks import CharacterTasks, ShiftedTasks
from maml_core.tasks.shifted import JitteredTasks, jitter, most_nearby, stroke, turn
from maml_core.training import checkpoints
from maml_core.util import seeded_generator as seeded
from tests.small import make_trainer, small_train

WAYS, SHOTS, TASKS = 3, 2, 4
BODY = [f"{kind}{i}" for i in range(1, 5) for kind in ("conv", "beta")]


def build(name: str, ways: int = WAYS) -> Reader:
    return READERS[name](conv_network(ways, filters=6), 1.0)


def perturbed(learner: Learner) -> Weights:
    """theta in float64, perturbed away from its initial zeros and equal weights."""
    theta, generator = learner.network.init(seeded(0)), seeded(1)
    return {name: w.double() + 0.2 * torch.randn(w.shape, generator=generator).double() for name, w in theta.items()}


@pytest.fixture(params=sorted(READERS))
def learner(request) -> Reader:
    return build(request.param)


@pytest.fixture
def episodes(characters) -> Episodes:
    return CharacterTasks(characters.images, WAYS, SHOTS, queries=3).sample(TASKS, seeded(2)).to(dtype=torch.float64)


def embed(theta: Weights, x: Tensor) -> Tensor:
    """The four blocks of one task by torch's own layers: pictures [B, 1, 28, 28] -> [B, F]."""
    body = {name: theta[name] for name in BODY}
    features = body["beta4"].shape[0]
    identity = {HEAD[0]: torch.eye(features).double(), HEAD[1]: torch.zeros(features).double()}
    return reference.conv_forward(body | identity, x)


def outputs(learner: Reader, theta: Weights, episodes: Episodes) -> Tensor:
    phi = adapt(learner, theta, episodes.support_x, episodes.support_y)
    return learner.network.forward(phi, episodes.query_x)


# Each learner's outputs, written out one task at a time.


def by_hand(name: str, theta: Weights, task: Episodes, ways: int = WAYS) -> Tensor:
    """The outputs of one task without the task axis, point by point from the papers' equations: [N*Q, N]."""
    support, query = embed(theta, task.support_x), embed(theta, task.query_x)
    rows = []
    for h in query:
        if name == "prototypes":
            means = [support[task.support_y == k].mean(0) for k in range(ways)]
            rows.append(torch.stack([-((h - c) ** 2).sum() for c in means]))
        elif name == "matching":
            cosine = torch.stack([theta["sharpness"] * (h @ s) / (h.norm() * s.norm()) for s in support])
            attention = cosine.exp() / cosine.exp().sum()
            rows.append(torch.stack([attention[task.support_y == k].sum() for k in range(ways)]).log())
        else:
            one_hot = torch.eye(ways).double()
            tokens = [torch.cat([s, one_hot[y]]) for s, y in zip(support, task.support_y)]
            token = torch.cat([h, torch.zeros(ways).double()])
            for i in (1, 2):
                seen, memory_ = [*tokens, token], tokens
                new = []
                for one in seen:
                    scores = torch.stack([(one @ theta[f"query{i}"]) @ (s @ theta[f"key{i}"]) for s in memory_])
                    weights = (scores / math.sqrt(WIDTH)).softmax(0)
                    new.append(torch.cat([one, sum(w * (s @ theta[f"value{i}"]) for w, s in zip(weights, memory_))]))
                *tokens, token = new
            rows.append(token @ theta["out"] + theta["bias"])
    return torch.stack(rows)


@pytest.mark.parametrize("name", sorted(READERS))
def test_outputs_match_a_loop_over_tasks_and_points(name, episodes):
    """For prototypes, negative squared distances, up to a term that is equal for all classes of a query."""
    theta = perturbed(build(name))
    ours = outputs(build(name), theta, episodes)
    theirs = torch.stack([by_hand(name, theta, task) for task in episodes])
    if name == "prototypes":
        ours, theirs = (logits - logits.mean(-1, keepdim=True) for logits in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_meta_gradient_matches_a_loop_over_tasks(name, episodes):
    learner = build(name)
    theta = perturbed(learner)
    ours, losses = meta_gradient(learner, theta, episodes, chunk=3)
    leaves = {key: w.clone().requires_grad_() for key, w in theta.items()}
    each = [F.cross_entropy(by_hand(name, leaves, task), task.query_y) for task in episodes]
    theirs = torch.autograd.grad(sum(each) / TASKS, list(leaves.values()))
    torch.testing.assert_close(losses, torch.stack(each).detach(), rtol=1e-8, atol=1e-10)
    for key, gradient in zip(leaves, theirs):
        torch.testing.assert_close(ours[key], gradient, rtol=1e-7, atol=1e-9)
        assert gradient.abs().max() > 0, key


# Properties that all have, and properties that distinguish them.


def test_the_order_of_the_support_points_does_not_matter(learner, episodes):
    theta, order = perturbed(learner), torch.tensor([4, 1, 5, 0, 3, 2])
    shuffled = replace(episodes, support_x=episodes.support_x[:, order], support_y=episodes.support_y[:, order])
    torch.testing.assert_close(outputs(learner, theta, shuffled), outputs(learner, theta, episodes))


def test_only_metrics_are_equivariant_to_relabelling_the_classes(learner, episodes):
    """By construction; the memory has weights for each label, and MAML a column of its last layer."""
    theta, names = perturbed(learner), torch.tensor([2, 0, 1])
    renamed = replace(episodes, support_y=names[episodes.support_y])
    ours, before = outputs(learner, theta, renamed)[..., names], outputs(learner, theta, episodes)
    same = torch.allclose(ours, before, rtol=1e-8, atol=1e-8)
    assert same == (type(learner).__name__ != "Memory")


def test_metrics_accept_any_number_of_classes_and_the_memory_does_not(episodes, characters):
    for name in READERS:
        theta, wider = perturbed(build(name)), build(name, ways=7)
        if name == "memory":
            with pytest.raises(ValueError, match="checkpoint of a different network"):
                checkpoints.check_weights(theta, wider.network, "here")
        else:
            checkpoints.check_weights(theta, wider.network, "here")
            task = CharacterTasks(characters.images, 7, 1).sample(1, seeded(0)).to(dtype=torch.float64)
            ours = outputs(wider, theta, task)[0]
            theirs = by_hand(name, theta, task[0], 7)
            torch.testing.assert_close(ours.log_softmax(-1), theirs.log_softmax(-1), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["prototypes", "matching"])
def test_metrics_never_choose_a_class_that_a_task_does_not_have(name, characters):
    """On tasks of fewer ways than the network's, the classes there are get the logits of a network of as many."""
    theta, wide, narrow = perturbed(build(name)), build(name, ways=5), build(name, ways=3)
    task = CharacterTasks(characters.images, 3, 1).sample(2, seeded(0)).to(dtype=torch.float64)
    ours, theirs = outputs(wide, theta, task), outputs(narrow, theta, task)
    torch.testing.assert_close(ours[..., :3], theirs)
    assert ours.softmax(-1)[..., 3:].max() < 1e-9


def test_theta_is_shared_and_each_task_has_its_own_phi(learner, episodes):
    theta = perturbed(learner)
    phi = adapt(learner, theta, episodes.support_x, episodes.support_y)
    assert all(phi[name] is theta[name] for name in theta)  # not copied per task
    assert all(len(w) == TASKS for name, w in phi.items() if name not in theta) and len(phi) > len(theta)
    again = adapt(learner, theta, episodes.support_x, episodes.support_y, steps=3)
    assert all(torch.equal(again[name], w) for name, w in phi.items())


def test_before_reading_all_classes_are_equally_likely(learner, episodes):
    scores = scores_by_step(learner, perturbed(learner), episodes, [0, 1, 3])
    assert (scores[0] == 1 / WAYS).all() and torch.equal(scores[1], scores[3])


@pytest.mark.parametrize("sees", SEES)
def test_batch_norm_statistics_can_be_chosen(learner, episodes, sees):
    """Unless they are taken over the query batch, a query picture's output does not depend on the others."""
    theta = perturbed(learner)
    phi = adapt(learner, theta, episodes.support_x, episodes.support_y)
    found = query_outputs(learner.network, phi, episodes, sees)
    assert found.shape == (TASKS, WAYS * 3, WAYS)
    few = replace(episodes, query_x=episodes.query_x[:, :4], query_y=episodes.query_y[:, :4])
    alone = query_outputs(learner.network, phi, few, sees)
    assert torch.allclose(alone, found[:, :4]) == (sees != "query batch")


def test_the_body_starts_equal_to_mamls(learner):
    ours, maml = learner.network.init(seeded(3)), conv_network(WAYS, filters=6).init(seeded(3))
    assert all(torch.equal(ours[name], maml[name]) for name in BODY)


@dataclass(frozen=True)
class FixedTasks:
    """A task distribution that always returns the same tasks."""

    episodes: Episodes

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        return self.episodes[:tasks]


def test_it_trains_and_can_overfit_a_fixed_meta_batch(learner, episodes):
    tasks = FixedTasks(episodes.to(dtype=torch.float32))
    trainer = make_trainer(learner, tasks, seeded(0), meta_batch=TASKS, learning_rate=1e-2)
    losses = trainer.run(60)
    assert losses[-1] < 0.5 * losses[0]
    assert evaluate(learner, trainer.theta, tasks, [1], seeded(1), TASKS)[1].mean() > 0.7


def small_network() -> Network:
    """A hidden layer of six units and a last layer: small enough to compile in seconds."""

    def init(generator: torch.Generator) -> Weights:
        return {"w1": torch.randn((784, 6), generator=generator) / 28, HEAD[0]: torch.zeros(6, 3), HEAD[1]: torch.zeros(3)}

    def forward(weights: Weights, x: Tensor) -> Tensor:
        return linear(torch.tanh(x.flatten(2) @ weights["w1"]), weights[HEAD[0]], weights[HEAD[1]])

    return Network(init, forward, cross_entropy, ways=3)


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler on this machine")
def test_compiled_equals_eager(episodes):
    """For the memory, which takes the most compilation."""
    learner, tasks = memory(small_network(), 1.0), FixedTasks(episodes.to(dtype=torch.float32))
    eager, compiled = (make_trainer(learner, tasks, seeded(0), 2, engine=engine) for engine in ("eager", "compiled"))
    torch.testing.assert_close(compiled.run(2), eager.run(2), rtol=1e-4, atol=1e-5)


# Recipes, and invalid settings.


@pytest.mark.parametrize("ways", [5, 20])
def test_recipes_have_mamls_episodes(ways):
    maml = find_recipe(f"omniglot-{ways}way-1shot")
    for name in READERS:
        recipe = find_recipe(f"omniglot-{ways}way-1shot-{name}")
        assert recipe == replace(maml, name=recipe.name, variant=name, inner_steps=1, test_steps=(0, 1))
        theta = recipe.build_learner().network.init(seeded(0))
        assert not set(HEAD) & theta.keys() and theta["conv4"].shape == (3, 3, 64, 64)


@pytest.mark.parametrize("family", [prototypes, matching, memory])
def test_regression_is_refused(family):
    with pytest.raises(ValueError, match="needs classes, and regression has none: choose another variant"):
        family(sinusoid_network(), 0.01)
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        family(conv_network(5), 0.4, 0)


def test_a_run_records_the_cpu_time_of_its_meta_iterations(tmp_path):
    """For each row of the history, excluding validation, and continued on resuming."""
    first = small_train(tmp_path / "run", 20)
    assert len(first["cpu_by_history"]) == len(first["history"]) == 2
    whole = small_train(tmp_path / "run", 40, resume=True)
    clock = whole["cpu_by_history"]
    assert clock[:2] == first["cpu_by_history"] and len(clock) == 4 and clock == sorted(clock) and clock[-1] > clock[1] > 0
    assert whole["cpu_seconds"] == pytest.approx(clock[-1], abs=0.01)


# Test tasks that differ from those of training.


def test_turns_by_right_angles_are_rotations():
    x = torch.rand((2, 3, 1, 28, 28), generator=seeded(0)).double()
    for quarters in (1, 2, 3):
        torch.testing.assert_close(turn(x, 90 * quarters), x.rot90(quarters, (-2, -1)), rtol=0, atol=1e-9)
    assert turn(x, 360) is x
    there_and_back = turn(turn(x, 30), -30)[..., 10:18, 10:18]
    assert (there_and_back.mean() - x[..., 10:18, 10:18].mean()).abs() < 0.03


def test_a_stroke_grows_and_shrinks_by_whole_pixels():
    """A black bar six pixels wide, measured by its ink."""
    x = torch.zeros(1, 1, 1, 28, 28)
    x[..., 4:24, 10:16] = 1.0
    assert stroke(x, 0) is x
    for pixels in (-2, -1, 1, 2):
        width = stroke(x, pixels)[0, 0, 0, 14].sum().item()
        assert width == pytest.approx(6 + pixels, abs=0.3)
    ink = [stroke(x, pixels).sum().item() for pixels in (-1, -0.5, 0, 0.5, 1)]
    assert ink == sorted(ink) and len(set(ink)) == 5


def test_shifted_tasks_are_the_same_tasks(characters):
    tasks = CharacterTasks(characters.images, WAYS, 1, queries=2)
    plain, shifted = (t.sample(2, seeded(5)) for t in (tasks, ShiftedTasks(tasks, lambda x: turn(x, 90))))
    assert torch.equal(plain.query_y, shifted.query_y)
    torch.testing.assert_close(shifted.query_x, plain.query_x.rot90(1, (-2, -1)), rtol=0, atol=1e-5)
    torch.testing.assert_close(shifted.support_x, plain.support_x.rot90(1, (-2, -1)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("axis", [-2, -1])
def test_the_most_nearby_is_that_of_torchs_max_pooling(axis):
    x = torch.randn(2, 3, 9, 11)
    for reach in (1, 2, 4):
        window, padding = ((2 * reach + 1, 1), (reach, 0)) if axis == -2 else ((1, 2 * reach + 1), (0, reach))
        assert torch.equal(most_nearby(x, reach, axis), F.max_pool2d(x, window, stride=1, padding=padding))


def test_jitter_shifts_rotates_and_scales_each_picture_independently():
    """An off-centre spot moves by a bounded distance, a different one in each picture; zero ranges change nothing."""
    x = torch.zeros(2, 50, 1, 28, 28, dtype=torch.float64)
    x[..., 5:8, 13:16] = 1.0  # its centre is 7.5 pixels above the picture's
    assert torch.equal(jitter(x, seeded(0)), jitter(x, seeded(0)))
    torch.testing.assert_close(jitter(x, seeded(0), degrees=0, pixels=0, scale=0), x)
    moved = jitter(x, seeded(0)).flatten(0, 2)
    weight = moved / moved.sum((-2, -1), keepdim=True)
    at = torch.arange(28) - 13.5
    down, across = ((weight.sum(-1) * at).sum(-1), (weight.sum(-2) * at).sum(-1))
    away = ((down + 7.5) ** 2 + (across - 0.5) ** 2).sqrt()
    assert len(set(away.tolist())) == 100 and away.max() < (2 + 0.2) * 2**0.5 + 0.1 * 8.3 + 8.3 * math.radians(10)
    assert 1 < down.std() < 1.6 and 1 < across.std() < 2  # uniform over 4 pixels has 1.15
    only_scaled = jitter(x, seeded(0), degrees=0, pixels=0).flatten(0, 2).sum((-2, -1))
    assert 0.8 < (only_scaled.min() / 9) ** 0.5 < 0.95 and 1.05 < (only_scaled.max() / 9) ** 0.5 < 1.15


def test_pictures_that_are_no_bytes_are_refused(characters):
    """Scaled to 0..1 already, they would be scaled again, and nearly white."""
    with pytest.raises(
        ValueError, match="CharacterTasks takes pictures as torch.uint8, in 0..255, not torch.float32: multiply"
    ):
        CharacterTasks(characters.images.float() / 255, WAYS, 1)


def test_jitter_moves_the_channels_of_a_picture_together():
    x = torch.rand(2, 3, 1, 28, 28, generator=seeded(1)).expand(-1, -1, 3, -1, -1)
    jittered = jitter(x, seeded(0))
    assert jittered.shape == x.shape and torch.equal(jittered, jittered[:, :, :1].expand_as(x))


def test_jittered_tasks_are_the_same_tasks(characters):
    tasks = CharacterTasks(characters.images, WAYS, 1, queries=2)
    plain, jittered = tasks.sample(2, seeded(5)), JitteredTasks(tasks).sample(2, seeded(5))
    assert torch.equal(plain.query_y, jittered.query_y) and torch.equal(plain.support_y, jittered.support_y)
    for before, after in ((plain.support_x, jittered.support_x), (plain.query_x, jittered.query_x)):
        assert before.shape == after.shape and not torch.equal(before, after)
        assert after.sum() / before.sum() == pytest.approx(1, abs=0.1)


def test_augmentation_is_used_in_training_only(characters):
    recipe = RECIPES["omniglot-20way-1shot-best"]
    training, test = recipe.build_training_tasks(characters), recipe.build_tasks(characters)
    assert isinstance(training, JitteredTasks) and training.tasks.turned_classes
    assert test == RECIPES["omniglot-20way-1shot"].build_tasks(characters) and not test.turned_classes
    plain = RECIPES["omniglot-20way-1shot"]
    assert plain.build_training_tasks(characters) == plain.build_tasks(characters)
    for change in ({"jitter": True}, {"turned_classes": True}):
        with pytest.raises(ValueError, match="change characters, and sinusoid-5shot learns sinusoid"):
            replace(RECIPES["sinusoid-5shot"], **change)


def test_different_ways_than_in_training(characters):
    task = CharacterTasks(characters.images, 10, 1, 1).sample(2, seeded(0))
    for label in ("MAML", "memory"):
        assert families.other_ways(label, 10) is None
        learner, theta, steps = families.other_ways(label, 3)
        few = CharacterTasks(characters.images, 3, 1, 1).sample(2, seeded(0))
        phi = adapt(learner, theta, few.support_x, few.support_y, steps)
        assert learner.network.forward(phi, few.query_x).shape == (2, 3, 3)
    for label in (*families.ANY_WAYS, families.EQUAL_COLUMNS):
        learner, theta, steps = families.other_ways(label, 10)
        phi = adapt(learner, theta, task.support_x, task.support_y, steps)
        assert learner.network.forward(phi, task.query_x).shape == (2, 10, 10)


def test_equal_columns_make_mamls_first_step_independent_of_label_order(characters):
    """The body's first gradient is 0, and the last layer's columns become each class's mean, as with prototypes."""
    learner, theta, _ = families.other_ways(families.EQUAL_COLUMNS, 10)
    assert theta["w5"].shape == (64, 10) and (theta["w5"] == theta["w5"][:, :1]).all()
    task = CharacterTasks(characters.images, 10, 1, 1).sample(1, seeded(0))
    phi = adapt(learner, theta, task.support_x, task.support_y, 1)
    torch.testing.assert_close(phi["conv1"][0], theta["conv1"], rtol=0, atol=1e-6)
    embedding = {HEAD[0]: torch.eye(64), HEAD[1]: torch.zeros(64)}
    h = learner.network.forward(theta | embedding, task.support_x)[0]
    learned = (phi["w5"][0] - theta["w5"]).T
    expected = learner.alpha / 10 * (h - h.mean(0))
    torch.testing.assert_close(learned, expected, rtol=1e-3, atol=1e-4)


def test_a_small_shift_study(characters, monkeypatch, tmp_path):
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    monkeypatch.setattr(families, "TEST_TASKS", 10)
    monkeypatch.setattr(families, "AXES", {"ways": (5, 10), "turned": (0,)})
    found = families.families_shift(StudyContext(out=tmp_path, characters=lambda: characters))
    rows = {(row["axis"], row["value"], row["learner"]): row["mean"] for row in found.rows}
    assert len(rows) == 5 + 3 + 4 and ("ways", 10, "MAML") not in rows and ("ways", 10, "MAML, equal columns") in rows
    assert rows["turned", 0, "memory"] == rows["ways", 5, "memory"] and min(rows.values()) > 0.4
    with pytest.raises(ValueError, match="Omniglot, which is not on disk"):
        families.families_shift(StudyContext(out=tmp_path, characters=lambda: replace(characters, source="glyphs")))


def test_the_cost_study_times_every_learner(characters, monkeypatch, tmp_path):
    """A reader, which needs no second derivative and takes one step, costs less than MAML's five."""
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    monkeypatch.setattr(families_cost, "ROUNDS", 2)
    monkeypatch.setattr(families_cost, "find_recipe", lambda name: replace(find_recipe(name), meta_batch=1))
    context = StudyContext(out=tmp_path, characters=lambda: characters, engine="eager")
    found = families_cost.families_cost(context)
    assert [(row["ways"], row["learner"]) for row in found.rows] == [
        (w, name) for w in (5, 20) for name in families.SHIPPED_AS
    ]
    seconds = {(row["ways"], row["learner"]): row["cpu_seconds"] for row in found.rows}
    assert 0 < seconds[20, "prototypes"] < seconds[20, "MAML"] and found.settings == {"rounds": 2}
    with pytest.raises(ValueError, match="Omniglot, which is not on disk"):
        families_cost.families_cost(StudyContext(out=tmp_path, characters=lambda: replace(characters, source="glyphs")))
