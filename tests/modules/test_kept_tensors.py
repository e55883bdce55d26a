"""What a module keeps from one forward to the next, besides its weights: tasks would share it, so it must not change."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from maml_core import Learner, Network, evaluate, fine_tune, meta_gradient
from maml_core.learners.registry import READERS
from maml_core.modules.kept_tensors import check_repeated
from maml_core.util import seeded_generator as seeded
from tests.modules.oracle import Tasks, classes, relative_error, seeded_module
from tests.small import make_trainer


class Keeping(nn.Module):
    """Subtracts a buffer, a tensor and what is kept from its input, after an update: x [B, 3] -> [B, 2]."""

    def __init__(self, update: Callable[["Keeping", Tensor], None]) -> None:
        super().__init__()
        self.body, self.head, self.update = nn.Linear(3, 3), nn.Linear(3, 2), update
        self.kept, self.past = 0.0, []
        self.register_buffer("mean", torch.full((3,), 0.5))
        self.register_buffer("unused", torch.full((2,), torch.nan))
        self.shift = torch.ones(3).double()

    def forward(self, x: Tensor) -> Tensor:
        self.update(self, x)
        return self.head(self.body(x - self.mean - self.shift - self.kept))


def assign(module: Keeping, x: Tensor) -> None:
    module.mean = 0.9 * module.mean + 0.1 * x.mean(0)


def in_place(module: Keeping, x: Tensor) -> None:
    module.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))


def count(module: Keeping, x: Tensor) -> None:
    module.mean += 1


def attribute(module: Keeping, x: Tensor) -> None:
    module.shift = x.mean(0)


def keep(module: Keeping, x: Tensor) -> None:
    module.kept = x.mean(0) + module.kept


def collect(module: Keeping, x: Tensor) -> None:
    module.past.append(x.mean(0))
    module.kept = sum(module.past)


def count_forwards(module: Keeping, x: Tensor) -> None:
    module.kept += 1


def remember(module: Keeping, x: Tensor) -> None:
    """For somebody to look at; no forward uses it."""
    module.seen = x


def nothing(module: Keeping, x: Tensor) -> None:
    pass


CHANGES = {assign: "buffer mean", in_place: "buffer mean", count: "buffer mean", attribute: "tensor shift"}


def network_of(update: Callable[[Keeping, Tensor], None]) -> Network:
    return Network.from_module(seeded_module(lambda: Keeping(update)), F.cross_entropy, 2)


@pytest.mark.filterwarnings("ignore:Keeping runs one task at a time")
@pytest.mark.parametrize("update", CHANGES)
def test_modules_that_change_what_they_keep_are_refused(update):
    sentence = f"Keeping changes its {CHANGES[update]} in forward, which tasks would share.*compute it anew in each forward"
    with pytest.raises(ValueError, match=sentence) as refusal:
        make_trainer(Learner(network_of(update), 0.1), Tasks(), seeded(0)).run(1)
    assert "\n" not in str(refusal.value)
    learner = Learner(network_of(update), 0.1)
    for _ in range(2):  # the second time as well
        with pytest.raises(ValueError, match=sentence):
            make_trainer(learner, Tasks(), seeded(0)).run(1)
    theta, task = learner.network.init(seeded(0)), classes((3,), tasks=1)
    with pytest.raises(ValueError, match=sentence):
        evaluate(learner, theta, Tasks(), [1], seeded(0), test_tasks=4)
    learner = Learner(network_of(update), 0.1)
    with pytest.raises(ValueError, match=sentence):
        fine_tune(learner, theta, task.support_x[0], task.support_y[0])
    prototypes = READERS["prototypes"](network_of(update), 0.1)
    with pytest.raises(ValueError, match=sentence):
        make_trainer(prototypes, Tasks(), seeded(0)).run(1)


@pytest.mark.parametrize("update", [assign, attribute])
def test_without_a_trainer_too(update):
    learner = Learner(network_of(update), 0.1)
    with pytest.raises(ValueError, match=f"Keeping changes its {CHANGES[update]} in forward"):
        meta_gradient(learner, learner.network.init(seeded(0)), Tasks().sample(2, seeded(0)))


@pytest.mark.parametrize("update", [keep, collect, count_forwards])
def test_a_module_that_uses_what_the_forward_before_left_is_refused(update):
    """Not only in training, where the graph of another forward would be missed: evaluation would just be wrong."""
    sentence = "Keeping gives other outputs when the same forward is repeated.*Keep nothing for the next"
    theta, tasks = network_of(nothing).init(seeded(0)), Tasks()
    learner, task = Learner(network_of(update), 0.1), tasks.sample(1, seeded(0))
    for use in (
        lambda: make_trainer(learner, tasks, seeded(0)).run(1),
        lambda: evaluate(learner, theta, tasks, [1], seeded(0), test_tasks=4),
        lambda: learner.network.forward(theta, task.query_x),
        lambda: fine_tune(learner, theta, task.support_x[0], task.support_y[0]),
    ):
        for _ in range(2):  # the second time as well
            with pytest.raises(ValueError, match=sentence) as refusal:
                use()
            assert "\n" not in str(refusal.value)


def test_repeated_outputs_may_differ_by_rounding():
    outputs = torch.tensor([1.0, -3.0, torch.nan])
    check_repeated(outputs, outputs.bfloat16().float() + 0.01, "It")
    with pytest.raises(ValueError, match="It gives other outputs"):
        check_repeated(outputs, outputs + 0.1, "It")


@pytest.mark.filterwarnings("ignore:Sequential runs one task at a time")
def test_spectral_norm_is_refused():
    module = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 2))).double()
    learner = Learner(Network.from_module(module, F.cross_entropy, 2), 0.1)
    with pytest.raises(ValueError, match="Sequential changes its buffer 0.parametrizations.weight.0._u in forward"):
        make_trainer(learner, Tasks(), seeded(0)).run(1)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_what_no_forward_uses_may_be_kept():
    """And weight norm, which keeps nothing, trains as well."""
    found, expected = (make_trainer(Learner(network_of(update), 0.1), Tasks(), seeded(0)) for update in (remember, nothing))
    assert torch.equal(found.run(3), expected.run(3)) and relative_error(found.theta, expected.theta) == 0
    module = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2))).double()
    learner = Learner(Network.from_module(module, F.cross_entropy, 2), 0.1)
    assert make_trainer(learner, Tasks(), seeded(0)).run(2).isfinite().all()
