"""Dropout draws for each task, from the trainer's generator alone, and only in training."""

import copy
import functools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maml_core import Learner, MetaTrainer, Network, evaluate, fine_tune
from maml_core.modules.randomness import draws_random
from maml_core.networks import cross_entropy
from maml_core.util import seeded_generator as seeded
from maml_core.util.seeding import torch_seeded_by
from tests.modules.oracle import ConvNet, Tasks, classes, loop_over_tasks, mlp, relative_error, seeded_module
from tests.small import make_trainer


class Functional(nn.Module):
    """Dropout as a function, which no submodule announces."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(torch.tanh(self.first(x)), 0.5, self.training))


class Encoder(nn.Module):
    """Attention's own dropout, and that of its layer: x [B, 3] -> [B, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(4, 2, 8, 0.3, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(F.pad(x, (0, 1))[:, None].expand(-1, 2, -1))).mean(1)


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 2))


class Helper(Functional):
    """Functional, whose dropout is in a method that its forward calls."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(torch.tanh(self.first(x))))

    def drop(self, h: Tensor) -> Tensor:
        return F.dropout(h, 0.5, self.training)


class Hidden(Helper):
    """No code that `draws_random` follows names the dropout."""

    def drop(self, h: Tensor) -> Tensor:
        return getattr(F, "drop" + "out")(h, 0.5, self.training)


class Announced(Hidden):
    draws_random = True


MODULES = {"module": plain, "function": Functional, "attention": Encoder, "method": Helper, "announced": Announced}


def network_of(name: str = "module") -> Network:
    return Network.from_module(seeded_module(MODULES[name]), F.cross_entropy, 2)


def trainer_of(network: Network, seed: int = 0, **settings) -> MetaTrainer:
    return make_trainer(Learner(network, 0.1, 2), Tasks(), seeded(seed), 3, **settings)


@pytest.mark.parametrize("name", MODULES)
def test_tasks_with_equal_data_and_weights_draw_differently(name):
    network = network_of(name)
    x = torch.randn(1, 8, 3, generator=seeded(1)).double().expand(2, 8, 3)
    first, second = network.forward(network.init(seeded(0)), x)
    assert (first - second).abs().max() > 1e-3
    first, second = network.at_test().forward(network.init(seeded(0)), x)
    assert torch.equal(first, second)


@pytest.mark.parametrize("settings", [{}, {"chunk": 2}], ids=str)
@pytest.mark.parametrize("name", MODULES)
def test_training_follows_from_the_generator_alone(name, settings):
    """Whatever torch's global seed is, which is left where it was."""
    trainers, losses = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        trainers.append(trainer_of(network_of(name), **settings))
        losses.append(trainers[-1].run(3))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*losses)
    assert all(torch.equal(w, trainers[1].theta[key]) for key, w in trainers[0].theta.items())
    assert not torch.equal(trainer_of(network_of(name), seed=1).run(3), losses[0])


@pytest.mark.parametrize("name", MODULES)
def test_a_resumed_training_draws_what_the_other_goes_on_to_draw(name):
    """Bit for bit, although its first meta-batch is checked once more."""
    first, second = trainer_of(network_of(name)), trainer_of(network_of(name), seed=9)
    first.run(2)
    second.load_state(copy.deepcopy(first.state()))
    assert torch.equal(first.run(2), second.run(2))
    assert all(torch.equal(w, second.theta[key]) for key, w in first.theta.items())


def test_each_meta_iteration_draws_anew():
    network = network_of()
    trainer = trainer_of(network)
    episodes = trainer.tasks.sample(3, seeded(1))
    trainer.tasks = type("Same", (), {"sample": lambda self, tasks, generator: episodes})()
    trainer.update = replace(trainer.update, learning_rate=1e-30)
    assert len(set(trainer.run(3).tolist())) == 3


def test_processes_draw_differently():
    drawn = []
    for rank in (0, 1, 0):
        with torch_seeded_by(seeded(3), rank):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])


def test_the_gradient_is_that_of_what_was_drawn():
    """One task, first step: the same global seed gives the loop the same masks."""
    module, episodes = seeded_module(plain), classes((3,), tasks=1)
    network = Network.from_module(module, F.cross_entropy, 2)
    learner = Learner(network, 0.1, 1, "mean")
    torch.manual_seed(4)
    ours, losses = learner.gradient_of_sum(network.init(seeded(0)), episodes)
    torch.manual_seed(4)
    theirs, expected = loop_over_tasks(module, F.cross_entropy, episodes, 0.1, 1)
    torch.testing.assert_close(losses, expected)
    assert relative_error(ours, theirs) < 1e-10


@pytest.mark.parametrize("name", MODULES)
def test_evaluation_and_fine_tuning_are_without_dropout(name):
    """They use the module in evaluation mode, and draw nothing."""
    module = seeded_module(MODULES[name]).eval()
    network = Network.from_module(module, F.cross_entropy, 2)
    learner, theta, episodes = Learner(network, 0.1, 1, "mean"), network.init(seeded(0)), Tasks().sample(4, seeded(1))
    before = torch.get_rng_state()
    scores = evaluate(learner, theta, Tasks(), [0], seeded(1), test_tasks=4)[0]
    tuned = fine_tune(learner, theta, episodes.support_x[0], episodes.support_y[0])
    assert torch.equal(torch.get_rng_state(), before)
    expected = [(module(task.query_x).argmax(-1) == task.query_y).float().mean() for task in episodes]
    torch.testing.assert_close(scores, torch.stack(expected))
    weights = dict(module.named_parameters())
    loss = F.cross_entropy(module(episodes.support_x[0]), episodes.support_y[0])
    for key, g in zip(weights, torch.autograd.grad(loss, list(weights.values()))):
        torch.testing.assert_close(tuned.get_parameter(key), weights[key] - 0.1 * g, rtol=1e-9, atol=1e-12)


def with_noise(h: Tensor) -> Tensor:
    return h + torch.empty_like(h).normal_()


class With(nn.Module):
    """Calls a function that it has been given."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.function = nn.Linear(3, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.body(x))


class InGlobal(With):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(with_noise(x))


class InSuper(Helper):
    def drop(self, h: Tensor) -> Tensor:
        return super().drop(h)


class InInit(Functional):
    """Random at first only; and says so of a forward that could draw."""

    draws_random = False

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(6))


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].register_forward_hook(lambda layer, inputs, outputs: F.dropout(outputs))
    return module


DRAW = {
    "a hook's": hooked(),
    "a function's": InGlobal(torch.tanh), "a base class's": InSuper(), "gumbel": With(F.gumbel_softmax),
    "partial": With(functools.partial(F.alpha_dropout, training=True)), "lambda": With(lambda h: F.dropout(h)),
    "nested": With(lambda h: [F.dropout(part) for part in (h,)][0]), "noise": With(with_noise),
    "without gradients": With(torch.no_grad()(with_noise)),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAW)
def test_random_code_is_recognized_wherever_forward_calls_it(name):
    """Where it is, the same forward twice differs."""
    module, x = DRAW[name], torch.ones(4, 3)
    assert not torch.equal(module(x), module(x)) and draws_random(module)


def test_random_code_that_forward_does_not_call_is_none():
    class Unused(Helper):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    assert not draws_random(Unused()) and not draws_random(InInit()) and draws_random(nn.Sequential(InInit(), Helper()))


def test_hidden_random_numbers_are_refused_before_training():
    trainer, before = trainer_of(Network.from_module(seeded_module(Hidden), F.cross_entropy, 2)), torch.get_rng_state()
    with pytest.raises(ValueError, match="Hidden draws random numbers that would not follow.*draws_random = True") as error:
        trainer.run(1)
    assert "\n" not in str(error.value) and torch.equal(torch.get_rng_state(), before)
    module = seeded_module(Hidden)
    module.draws_random = True
    assert trainer_of(Network.from_module(module, F.cross_entropy, 2)).run(1).isfinite().all()


def test_random_numbers_in_a_function_of_weights_are_refused():
    network = Network(
        lambda generator: {"w": torch.randn(3, 2, generator=generator, dtype=torch.float64)},
        lambda weights, x: F.dropout(x @ weights["w"], 0.5), cross_entropy, 2,
    )  # fmt: skip
    with pytest.raises(ValueError, match="The network draws random numbers.*nn.Module for Network.from_module"):
        trainer_of(network).run(1)


@pytest.mark.parametrize("module, expected", [
    (mlp(), False), (ConvNet(), False), (ConvNet(0.1), True), (nn.Sequential(nn.Dropout2d(0.2)), True),
    (nn.LSTM(2, 2, 2, dropout=0.1), True), (nn.LSTM(2, 2), False), (nn.MultiheadAttention(4, 2, dropout=0.1), True),
    (nn.TransformerEncoderLayer(4, 2, 8, 0.0), False), (nn.Sequential(nn.RReLU()), True), (Functional(), True),
])  # fmt: skip
def test_random_modules_are_recognized(module, expected):
    assert draws_random(module) is expected
