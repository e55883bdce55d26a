"""A trainer's saved state: loaded by name, and refused as a whole where it does not fit."""

import copy
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maml_core import Episodes, Learner, MetaTrainer, Network
from maml_core.learners.variants import MetaSGD, with_alphas
from tests.small import make_trainer
from tests.training.test_training import assert_identical


class Lines:
    """Straight lines through points [T, 5, 6], with as many targets as the network has outputs."""

    def __init__(self, outputs: int = 1) -> None:
        self.outputs = outputs

    def sample(self, tasks, generator):
        x = torch.randn(tasks, 10, 6, generator=generator)
        y = x @ torch.randn(tasks, 6, self.outputs, generator=generator)
        return Episodes(x[:, :5], y[:, :5], x[:, 5:], y[:, 5:])


class Net(nn.Module):
    """Two layers of one size, registered in the given order: only their names tell them apart."""

    def __init__(self, order=("first", "second")) -> None:
        super().__init__()
        for name in order:
            self.add_module(name, nn.Linear(6, 6))

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def trainer_of(module: nn.Module, outputs: int = 1, seed: int = 0, **options) -> MetaTrainer:
    learner = Learner(Network.from_module(module, F.mse_loss), 0.01)
    return make_trainer(learner, Lines(outputs), torch.Generator().manual_seed(seed), **options)


def test_the_order_in_which_a_module_registers_its_weights_does_not_matter():
    """Loaded by name, training goes on with the same losses and ends at the same weights, averages included."""
    one = trainer_of(Net(), 6, averaging=0.9)
    other = trainer_of(Net(("second", "first")), 6, seed=1, averaging=0.9)
    assert list(one.theta) != list(other.theta) and one.theta.keys() == other.theta.keys()
    one.run(3)
    state = copy.deepcopy(one.state())
    other.load_state(state)
    assert_identical(dict(sorted(other.theta.items())), dict(sorted(state["theta"].items())))
    torch.testing.assert_close(other.run(3), one.run(3))
    for name, w in one.averaged_theta.items():
        torch.testing.assert_close(other.averaged_theta[name], w)
        torch.testing.assert_close(other.theta[name], one.theta[name])


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


def cut(state, part):
    return state | {part: state[part] | {"weight": state[part]["weight"][:, :1]}}


WRONG = {
    "no first_moment": lambda state: without(state, "first_moment"),
    "no adam_steps, .*: use what MetaTrainer.state.. returned, or": lambda state: without(state, "adam_steps"),
    "no generator": lambda state: without(state, "generator"),
    r"weight in theta is \[1, 1\] there and \[1, 6\] here: use the network": lambda state: cut(state, "theta"),
    r"weight in first_moment is \[1, 1\] there": lambda state: cut(state, "first_moment"),
    r"weight in second_moment is \[1, 1\] there": lambda state: cut(state, "second_moment"),
    r"weight in average is \[1, 1\] there and \[1, 6\] here: it is damaged": lambda state: cut(state, "average"),
    r"bias in theta is missing there and \[1\] here": lambda state: state | {"theta": without(state["theta"], "bias")},
    r"more in theta is \[\] there and missing here": lambda state: (
        state | {"theta": state["theta"] | {"more": torch.zeros(())}}
    ),
    "weight in second_moment is missing there": lambda state: state | {"second_moment": None},
    r"adam_steps is \[1\] there and \[\] here": lambda state: state | {"adam_steps": torch.ones(1)},
    "generator is no tensor": lambda state: state | {"generator": 7},
    "iteration must be at least 0": lambda state: state | {"iteration": -1},
    "matmul_backend must be auto or one of": lambda state: state | {"products": "blas"},
    "no running average of theta, which this trainer keeps: .* without": lambda state: without(state, "average"),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_refused_in_one_sentence_and_nothing_is_loaded(message):
    saved = trainer_of(nn.Linear(6, 1), averaging=0.9)
    saved.run(2)
    ours = trainer_of(nn.Linear(6, 1), seed=1, averaging=0.9)
    ours.run(1)
    before = copy.deepcopy(ours.state())
    with pytest.raises(ValueError, match=message) as refusal:
        ours.load_state(WRONG[message](saved.state()))
    assert "\n" not in str(refusal.value)
    assert_identical(ours.state(), before)
    ours.load_state(saved.state())  # as it was saved, it fits
    assert_identical(ours.state(), saved.state())


def test_states_of_other_networks_and_learners_are_refused():
    """A column does not spread over five, alphas are not dropped, and an average is not forgotten."""
    ours = trainer_of(nn.Linear(6, 5), 5)
    before = copy.deepcopy(ours.state())
    narrow = trainer_of(nn.Linear(6, 1))
    with pytest.raises(ValueError, match=r"weight in theta is \[1, 6\] there and \[5, 6\] here: use the network and lea"):
        ours.load_state(narrow.state())
    with pytest.raises(ValueError, match=r"runs/x.pt does not fit, since weight in theta is missing there and \[5, 6\] h"):
        ours.load_state(trainer_of(nn.Sequential(OrderedDict(a=nn.Linear(6, 5))), 5).state(), "runs/x.pt")
    alphas = MetaSGD(with_alphas(ours.learner.network, 0.01), 0.01)
    with pytest.raises(ValueError, match=r"alpha.weight in theta is \[5, 6\] there and missing here"):
        ours.load_state(make_trainer(alphas, Lines(5), torch.Generator().manual_seed(0)).state())
    with pytest.raises(ValueError, match="has a running average of theta, which this trainer does not keep: build it with"):
        ours.load_state(trainer_of(nn.Linear(6, 5), 5, averaging=0.9).state())
    assert_identical(ours.state(), before)
