"""Engines and learners with a module: they give what they give with the same network as a function of weights."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maml_core import Episodes, Learner, Network, adapt, evaluate, meta_gradient
from maml_core.engine.compiling import compile_whole, has_compiler
from maml_core.layers import linear
from maml_core.learners import LEARNERS, READERS, VARIANTS
from maml_core.maml import gradient_of_sum
from maml_core.networks import cross_entropy
from maml_core.util import seeded_generator as seeded
from tests.modules.oracle import ConvNet, Tasks, classes, loop_over_tasks, mlp, relative_error, seeded_module
from tests.small import make_trainer

EPISODES = classes((3,), tasks=4)
needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler on this machine")


def module_network(build: Callable[[], nn.Module] = mlp, **options) -> Network:
    return Network.from_module(seeded_module(build), nn.CrossEntropyLoss(), 2, **options)


def renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of `mlp` by the names of `function_network`, and alphas by theirs."""
    names = {"0.weight": "w1", "0.bias": "b1", "2.weight": "w5", "2.bias": "b5"}
    found = {}
    for name, w in weights.items():
        alpha, own = ("alpha.", name[6:]) if name.startswith("alpha.") else ("", name)
        matrix = own.endswith("weight") and w.ndim >= 2
        found[alpha + names.get(own, own)] = w.mT if matrix else w
    return found


def function_network() -> Network:
    """`mlp` written by hand, as a function of weights."""

    def forward(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return linear(torch.tanh(linear(x, weights["w1"], weights["b1"])), weights["w5"], weights["b5"])

    theta = renamed(module_network().init(seeded(0)))
    return Network(lambda generator: dict(theta), forward, cross_entropy, 2)


def build(name: str, network: Network) -> Learner:
    return LEARNERS[name](network, 0.1, 2, "sum")


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_variant_has_the_gradient_of_the_network_written_by_hand(name):
    ours, theirs = build(name, module_network()), build(name, function_network())
    theta = {key: w.double() for key, w in ours.network.init(seeded(0)).items()}
    gradient, losses = meta_gradient(ours, theta, EPISODES)
    expected, expected_losses = meta_gradient(theirs, renamed(theta), EPISODES)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-10, atol=1e-12)
    assert relative_error(renamed(gradient), expected) < 1e-9


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_variant_trains_and_is_evaluated(name):
    learner = build(name, module_network(lambda: nn.Sequential(mlp(), nn.Dropout(0.1))))
    trainer = make_trainer(learner, Tasks(), seeded(0), 2)
    assert trainer.run(2).isfinite().all()
    scores = evaluate(learner, trainer.theta, Tasks(), [0, 1, 3], seeded(1), test_tasks=4)
    assert all(score.shape == (4,) for score in scores.values())


def test_evaluation_sees_batches_as_a_whole():
    """A query beside the support set makes a batch for batch norm; the support set alone has no outputs for queries."""
    module = seeded_module(ConvNet)
    learner = Learner(Network.from_module(module, F.cross_entropy, 2, batch_norm="batch"), 0.1)
    theta, tasks = learner.network.init(seeded(0)), Tasks((1, 6, 6))
    scores = evaluate(learner, theta, tasks, [0], seeded(1), test_tasks=3, sees="support and one query")[0]
    for score, task in zip(scores, tasks.sample(3, seeded(1))):
        outputs = [module.train()(torch.cat([task.support_x, x[None]]))[-1] for x in task.query_x]
        torch.testing.assert_close(score, (torch.stack(outputs).argmax(-1) == task.query_y).float().mean())
    with pytest.raises(ValueError, match='sees="support" cannot be had: use "support and one query", or fine_tune'):
        evaluate(learner, theta, tasks, [0], seeded(1), test_tasks=3, sees="support")


# Which weights adapt.


def adapted(learner: Learner, episodes: Episodes = EPISODES) -> set[str]:
    """The names of the weights that an inner step changes."""
    theta = {name: w.double() for name, w in learner.network.init(seeded(0)).items()}
    phi = adapt(learner, theta, episodes.support_x, episodes.support_y)
    return {name for name, w in theta.items() if (phi[name] - w).abs().max() > 0}


@pytest.mark.parametrize("options, expected", [
    ({}, {"head.weight", "head.bias"}), ({"head": "head"}, {"head.weight", "head.bias"}),
    ({"head": "norm"}, {"norm.weight", "norm.bias"}), ({"head": "head.bias"}, {"head.bias"}),
    ({"head": "head", "frozen": ["head.bias"]}, {"head.weight"}),
])  # fmt: skip
def test_anil_adapts_only_the_head(options, expected):
    network = module_network(ConvNet, batch_norm="batch", **options)
    assert adapted(build("anil", network), classes((1, 6, 6))) == expected


@pytest.mark.parametrize("frozen", [["norm", "head.bias"], "norm", ("norm.weight",), ["conv", "norm"]])
def test_frozen_weights_are_meta_learned_but_not_adapted(frozen):
    """By submodule and by weight."""
    module, episodes = seeded_module(ConvNet), classes((1, 6, 6))
    network = Network.from_module(module, F.cross_entropy, frozen=frozen, batch_norm="batch")
    parts = [frozen] if isinstance(frozen, str) else frozen
    names = {name for name, _ in module.named_parameters() if any(name.startswith(part) for part in parts)}
    assert network.frozen == names and adapted(Learner(network, 0.1), episodes) == network.init(seeded(0)).keys() - names
    ours, _ = gradient_of_sum(Learner(network, 0.1, 2, "mean"), network.init(seeded(0)), episodes)
    assert relative_error(ours, loop_over_tasks(module, F.cross_entropy, episodes, 0.1, 2, tuple(names))[0]) < 1e-10


class Tied(nn.Module):
    """One weight as embedding and decoder: words x [B] -> logits [B, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.decoder = nn.Embedding(5, 3), nn.Linear(3, 3), nn.Linear(3, 5)
        self.decoder.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.tanh(self.hidden(self.embedding(x))))


@pytest.mark.parametrize("part, names", [
    ("decoder", ("embedding.weight", "decoder.bias")), ("decoder.weight", ("embedding.weight",)),
    (["embedding", "decoder"], ("embedding.weight", "decoder.bias")),
])  # fmt: skip
def test_a_tied_weight_is_frozen_under_each_of_its_names(part, names):
    module, words = seeded_module(Tied), Episodes(*torch.randint(5, (4, 3, 6), generator=seeded(0)))
    network = Network.from_module(module, F.cross_entropy, frozen=part)
    assert network.frozen == set(names)
    ours, _ = gradient_of_sum(Learner(network, 0.1, 2, "mean"), network.init(seeded(0)), words)
    assert relative_error(ours, loop_over_tasks(module, F.cross_entropy, words, 0.1, 2, names)[0]) < 1e-10


@pytest.mark.parametrize("options", [{}, {"head": "decoder"}])
def test_a_tied_head_is_the_last_layer_with_its_tied_weight(options):
    words = Episodes(*torch.randint(5, (4, 3, 6), generator=seeded(0)))
    network = Network.from_module(seeded_module(Tied), F.cross_entropy, **options)
    assert network.layers == (("hidden.weight", "hidden.bias"), ("embedding.weight", "decoder.bias"))
    assert adapted(build("anil", network), words) == {"embedding.weight", "decoder.bias"}
    reader = build("prototypes", Network.from_module(seeded_module(Tied), F.cross_entropy, 5, **options))
    assert set(reader.network.init(seeded(0))) == {"embedding.weight", "hidden.weight", "hidden.bias"}
    assert not adapted(reader, words)


@pytest.mark.parametrize("head", ["2", "2.weight", "2.bias"])
def test_readers_keep_no_weight_of_the_layer_that_they_replace(head):
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    reader = build("prototypes", Network.from_module(module, F.cross_entropy, 2, head=head))
    assert set(reader.network.init(seeded(0))) == {"0.weight", "0.bias"}


@pytest.mark.parametrize("variant, shape", [("meta-sgd", None), ("learned-alphas", (2,)), ("maml++", (2,))])
def test_alphas_exist_for_the_weights_that_adapt(variant, shape):
    network = module_network(frozen=["0.bias"])
    theta = build(variant, network).network.init(seeded(0))
    assert theta.keys() - network.init(seeded(0)).keys() == {"alpha.0.weight", "alpha.2.weight", "alpha.2.bias"}
    assert theta["alpha.0.weight"].shape == (shape or theta["0.weight"].shape)


# Constants, names and types of numbers.


def test_what_requires_no_gradient_and_buffers_are_constants():
    class Constants(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 2)
            self.register_buffer("scale", torch.rand(3))
            self.body.requires_grad_(False)
            self.head.bias.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.tanh(self.body(x)) * self.scale)

    module = seeded_module(Constants)
    network = Network.from_module(module, F.cross_entropy)
    assert list(network.init(seeded(0))) == ["head.weight"]
    ours, _ = gradient_of_sum(Learner(network, 0.1, 2, "mean"), network.init(seeded(0)), EPISODES)
    assert relative_error(ours, loop_over_tasks(module, F.cross_entropy, EPISODES, 0.1, 2)[0]) < 1e-10


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_the_forward_keeps_the_modules_type_of_numbers(dtype, tolerance):
    module = seeded_module(ConvNet).train()
    network = Network.from_module(module.to(dtype), F.cross_entropy, batch_norm="batch")
    x, theta = classes((1, 6, 6)).support_x, network.init(seeded(0))
    found = network.forward(theta, x.to(dtype))
    assert found.dtype == dtype and all(w.dtype == dtype for w in theta.values())
    expected = torch.stack([module.double()(points) for points in x])
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


# Engines.


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunks_do_not_change_the_gradient(chunk):
    learner = Learner(module_network(ConvNet, batch_norm="batch"), 0.1, 2)
    theta, episodes = learner.network.init(seeded(0)), classes((1, 6, 6), tasks=4)
    whole, losses = meta_gradient(learner, theta, episodes)
    parts, each = meta_gradient(learner, theta, episodes, chunk)
    assert relative_error(parts, whole) < 1e-12
    torch.testing.assert_close(losses, each, rtol=1e-12, atol=0)


@needs_compiler
def test_the_compiled_gradient_is_that_of_the_loop():
    """Convolutions are compiled as im2col."""
    module, episodes = seeded_module(ConvNet), classes((1, 6, 6))
    network = Network.from_module(module, nn.CrossEntropyLoss(), batch_norm="batch")
    learner = Learner(network, 0.1, 1, "mean")
    compiled = compile_whole(lambda theta, episodes: gradient_of_sum(learner, theta, episodes))
    ours, losses = compiled(network.init(seeded(0)), episodes)
    theirs, expected = loop_over_tasks(module, F.cross_entropy, episodes, 0.1, 1)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=0)
    assert relative_error(ours, theirs) < 1e-10


@pytest.mark.parametrize("settings", [{}, {"chunk": 2}], ids=str)
def test_the_trainer_gives_the_compiler_one_graph(settings, monkeypatch):
    """With torch's debugging backend in the compiler's place; its meta-iterations equal the eager ones."""
    torch_compile, network = torch.compile, module_network(ConvNet, batch_norm="batch")
    monkeypatch.setattr("maml_core.engine.trainer.has_compiler", lambda: True)
    monkeypatch.setattr(torch, "compile", lambda f, **options: torch_compile(f, fullgraph=True, backend="aot_eager"))
    eager, compiled = (
        make_trainer(Learner(network, 0.1), Tasks((1, 6, 6)), seeded(0), 4, engine=engine, **settings)
        for engine in ("eager", "compiled")
    )
    torch.testing.assert_close(compiled.run(3), eager.run(3), rtol=1e-9, atol=0)
    assert compiled.engine == "compiled"
    for name, w in eager.theta.items():
        torch.testing.assert_close(compiled.theta[name], w, rtol=0, atol=1e-6)


# Learners that read the support set.


@pytest.mark.parametrize("name", sorted(READERS))
def test_readers_embed_by_what_comes_before_the_last_layer(name):
    """As with the same network written by hand."""
    ours, theirs = build(name, module_network()), build(name, function_network())
    theta = {key: w.double() for key, w in ours.network.init(seeded(0)).items()}
    assert theta.keys() >= {"0.weight", "0.bias"} and "2.weight" not in theta
    gradient, losses = meta_gradient(ours, theta, EPISODES)
    expected, expected_losses = meta_gradient(theirs, renamed(theta), EPISODES)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-10, atol=1e-12)
    assert relative_error(renamed(gradient), expected) < 1e-10


@pytest.mark.parametrize("name", sorted(READERS))
def test_readers_train_and_are_evaluated(name):
    """With batch norm, of each batch."""
    network = Network.from_module(ConvNet(), nn.CrossEntropyLoss(), 2, batch_norm="batch")
    learner, tasks = build(name, network), AllClasses((1, 6, 6), torch.float32)
    trainer = make_trainer(learner, tasks, seeded(0), 2)
    assert trainer.run(2).isfinite().all() and "conv.weight" in trainer.theta
    assert evaluate(learner, trainer.theta, tasks, [0, 1], seeded(1), test_tasks=4)[1].shape == (4,)


class AllClasses(Tasks):
    """Every task has points of both classes."""

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        drawn, y = super().sample(tasks, generator), torch.tensor([0, 1, 0, 1]).expand(tasks, 4)
        return Episodes(drawn.support_x, y, drawn.query_x, y)


@pytest.mark.parametrize("module, options, sentence", [
    (nn.Sequential(mlp(), nn.Dropout(0.1)), {}, "does not switch dropout off at test: set its rate to 0"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), {}, "the head of Sequential is 0.weight and 0.bias: pass head"),
    (nn.Sequential(nn.Flatten(), mlp()), {"head": "1"}, "the head of Sequential is 1.0.weight and .*: pass head"),
    (nn.Linear(3, 2), {}, "the head of Linear is weight and bias"),
])  # fmt: skip
def test_readers_refuse_modules_without_an_embedding(module, options, sentence):
    with pytest.raises(ValueError, match=sentence) as refusal:
        build("prototypes", Network.from_module(module, F.cross_entropy, 2, **options))
    assert "\n" not in str(refusal.value)
