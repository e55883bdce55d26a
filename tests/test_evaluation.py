"""Meta-test: batch norm's statistics for the queries, against batches assembled by hand, and chunks side by side."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from maml_core.episodes import Episodes
from maml_core.evaluation import SEES, evaluate, query_outputs, scores_by_step
from maml_core.learners.ways import first_outputs
from maml_core.maml import Learner, adapt
from maml_core.networks import Network, conv_network, cross_entropy, mlp_network
from maml_core.tasks import CharacterTasks
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.util.seeding import seeded_generator as seeded
from maml_core.util.threads import threads

NETWORKS = {"conv": lambda ways: conv_network(ways, filters=8), "mlp": mlp_network}


@pytest.fixture(params=NETWORKS)
def setting(request):
    """A network, adapted weights of three 4-way 2-shot tasks, and the episodes, in float64."""
    network = NETWORKS[request.param](4)
    generator = torch.Generator().manual_seed(3)
    theta = {name: w.double() for name, w in network.init(generator).items()}
    episodes = CharacterTasks(draw_glyphs(12), 4, 2, 3).sample(3, generator).to(dtype=torch.float64)
    phi = adapt(Learner(network, 0.1, 2), theta, episodes.support_x, episodes.support_y)
    return network, phi, episodes


def one_task(network, phi, task):
    return {name: w if name in network.frozen else w[task : task + 1] for name, w in phi.items()}


def test_query_batch_is_the_plain_forward(setting):
    network, phi, episodes = setting
    assert torch.equal(query_outputs(network, phi, episodes), network.forward(phi, episodes.query_x))


def test_support_and_one_query_match_a_plain_loop(setting):
    network, phi, episodes = setting
    ours = query_outputs(network, phi, episodes, "support and one query")
    for task in range(3):
        own = one_task(network, phi, task)
        for i in range(episodes.query_x.shape[1]):
            batch = torch.cat([episodes.support_x[task], episodes.query_x[task, i : i + 1]])
            torch.testing.assert_close(ours[task, i], network.forward(own, batch[None])[0, -1], rtol=1e-9, atol=1e-9)


def test_statistics_of_the_support_set_only(setting):
    """Query pictures do not affect each other, and a support picture used as a query gets the same output."""
    network, phi, episodes = setting
    ours = query_outputs(network, phi, episodes, "support")
    first = Episodes(episodes.support_x, episodes.support_y, episodes.query_x[:, :1], episodes.query_y[:, :1])
    torch.testing.assert_close(query_outputs(network, phi, first, "support")[:, 0], ours[:, 0], rtol=1e-9, atol=1e-9)
    again = Episodes(episodes.support_x, episodes.support_y, episodes.support_x, episodes.support_y)
    torch.testing.assert_close(
        query_outputs(network, phi, again, "support"), network.forward(phi, episodes.support_x), rtol=1e-9, atol=1e-9
    )


def test_query_pictures_affect_each_other_only_in_the_query_batch(setting):
    network, phi, episodes = setting
    changed = episodes.query_x.clone()
    changed[:, 1:] = changed[:, 1:].flip(-1)
    other = Episodes(episodes.support_x, episodes.support_y, changed, episodes.query_y)
    for sees in SEES:
        before, after = (query_outputs(network, phi, e, sees)[:, 0] for e in (episodes, other))
        assert torch.allclose(before, after, rtol=1e-9, atol=1e-9) == (sees != "query batch")


def test_unknown_statistics_are_refused(setting):
    with pytest.raises(ValueError, match="sees must be one of query batch, support and one query, support, not 'all'"):
        query_outputs(*setting, "all")


@pytest.fixture
def tasks():
    return CharacterTasks(draw_glyphs(30), 20, 1, 1)


@pytest.mark.parametrize("cores", [1, 2])
def test_chunks_side_by_side_score_as_one_batch(tasks, cores):
    """In the order of the tasks, the last batch smaller than the others."""
    learner = Learner(conv_network(20, filters=8), 0.1)
    theta = learner.network.init(seeded(0))
    with threads(cores):
        ours = evaluate(learner, theta, tasks, [0, 2], seeded(1), 18, batch=12)
    generator = seeded(1)
    batches = [scores_by_step(learner, theta, tasks.sample(size, generator), [0, 2]) for size in (12, 6)]
    for step, scores in ours.items():
        torch.testing.assert_close(scores, torch.cat([batch[step] for batch in batches]))


def test_a_module_is_called_from_one_thread_and_functions_from_several(tasks):
    """A module has one set of weights at a time: two threads would compute with each other's."""
    seen = set()

    def noted(forward):
        def call(*arguments):
            seen.add(threading.get_ident())
            return forward(*arguments)

        return call

    def threads_of(network, **settings):
        seen.clear()
        network = replace(network, forward=noted(network.forward), module=settings.pop("module", None))
        evaluate(Learner(network, 0.1), network.init(seeded(0)), tasks, [1], seeded(1), 50, **settings)
        return len(seen)

    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 20))
    of_module = Network.from_module(module, torch.nn.CrossEntropyLoss(), ways=20)
    function = of_module.module
    function.test_forward = noted(function.test_forward)
    with threads(2):
        assert threads_of(of_module, module=function) == 1
        assert threads_of(mlp_network(20), workers=1) == 1
        assert threads_of(mlp_network(20)) > 1


@pytest.mark.parametrize("made", ["before", "within", "within, used later"])
def test_inference_mode_is_refused(tasks, made):
    """It rules out the inner step's gradient, for weights made there even later; under `torch.no_grad` nothing changes."""
    learner = Learner(conv_network(20, filters=2), 0.1)
    theta = learner.network.init(seeded(0))
    message = "torch.inference_mode.* rules out, for weights made within it even later: use torch.no_grad.. instead.$"
    if made == "before":
        with torch.no_grad():
            quiet = evaluate(learner, theta, tasks, [1], seeded(1), 2)[1]
        assert torch.equal(quiet, evaluate(learner, theta, tasks, [1], seeded(1), 2)[1])
    with torch.inference_mode():
        theta = {name: w.clone() for name, w in theta.items()} if "within" in made else theta
    with torch.inference_mode("later" not in made), pytest.raises(ValueError, match=message):
        evaluate(learner, theta, tasks, [1], seeded(1), 2)


@pytest.mark.parametrize("wrap", [lambda network: network, lambda network: first_outputs(network, 3)])
def test_support_needs_a_forward_with_seen(wrap):
    """Other mistakes in it are raised as themselves."""
    theta = {"w": torch.randn(4, 3, generator=seeded(0))}
    network = wrap(Network(lambda generator: theta, lambda weights, x: x @ weights["w"], cross_entropy, 3))
    episodes = Episodes(*(torch.zeros(2, 3, *shape, dtype=kind) for shape, kind in 2 * [((4,), None), ((), torch.int64)]))
    with pytest.raises(ValueError, match='sees="support" calls the network\'s forward with seen=n.*add it') as refusal:
        query_outputs(network, theta, episodes, "support")
    assert "\n" not in str(refusal.value)
    broken = replace(network, forward=lambda weights, x, seen: x + "1")
    with pytest.raises(TypeError, match="unsupported operand"):
        query_outputs(broken, theta, episodes, "support")


def test_float_targets_are_scored_by_the_outputs_as_they_are():
    """A network for yes or no: the loss takes the sigmoid of its outputs, the score does not."""
    theta = {"w": torch.randn(4, 1, generator=seeded(0))}
    network = Network(
        lambda generator: theta,
        lambda weights, x: (x @ weights["w"]).squeeze(-1),
        lambda outputs, y: binary_cross_entropy_with_logits(outputs, y, reduction="none"),
    )
    x = torch.randn(2, 2, 5, 4, generator=seeded(1))
    y = (x.sum(-1) > 0).float()
    tasks = SimpleNamespace(sample=lambda tasks, generator: Episodes(x[0], y[0], x[1], y[1]))
    scores = evaluate(Learner(network, 0.1), theta, tasks, [0], seeded(0), test_tasks=2)[0]
    expected = [((query @ theta["w"])[:, 0] - answers).square().mean() for query, answers in zip(x[1], y[1])]
    torch.testing.assert_close(scores, torch.stack(expected))
