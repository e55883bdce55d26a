"""Losses as people write them against a loop over tasks and points, and those that MAML would scale are refused."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maml_core import Episodes, Learner, MetaTrainer, Network, fine_tune, meta_gradient
from maml_core.modules import point_loss
from tests.modules.oracle import classes, loop_over_tasks, mlp, relative_error, seeded_module

TASKS, POINTS, WAYS = 3, 4, 5


def own(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).abs().pow(1.5).mean(-1)


def normalizing(outputs: Tensor, y: Tensor) -> Tensor:
    """Normalizes over the task's points, so it must see one task at a time."""
    return ((outputs / outputs.std(0) - y) ** 2).mean(-1)


class OwnModule(nn.Module):
    def forward(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y).logsumexp(-1)


def draw(kind: str) -> tuple[Tensor, Tensor]:
    """Outputs and y of this kind, [T, B, ...]."""
    generator, double = torch.Generator().manual_seed(0), {"dtype": torch.float64}
    shape = {"pixels": (WAYS, 2, 3), "points": ()}.get(kind, (WAYS,))
    outputs = torch.randn(TASKS, POINTS, *shape, generator=generator, **double)
    if kind in ("labels", "pixels"):
        return outputs, torch.randint(WAYS, (TASKS, POINTS, *shape[1:]), generator=generator)
    return outputs, torch.rand(outputs.shape, generator=generator, **double)


LOSSES = {  # a loss, and what it is for; torch takes each loss's mean over one point alone
    "CrossEntropyLoss": (nn.CrossEntropyLoss(), "labels"),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), "labels"),
    "cross_entropy": (F.cross_entropy, "labels"),
    "partial": (partial(F.cross_entropy, label_smoothing=0.1), "labels"),
    "partial of a partial": (partial(partial(F.cross_entropy, label_smoothing=0.1), reduction="none"), "labels"),
    "soft labels": (nn.CrossEntropyLoss(), "vectors"),
    "of every pixel": (nn.CrossEntropyLoss(), "pixels"),
    "MSELoss": (nn.MSELoss(), "vectors"),
    "MSELoss of points": (nn.MSELoss(), "points"),
    "without reduction": (nn.MSELoss(reduction="none"), "vectors"),
    "mse_loss": (F.mse_loss, "vectors"),
    "l1_loss": (F.l1_loss, "vectors"),
    "logistic": (F.binary_cross_entropy_with_logits, "vectors"),
    "weighted logits": (nn.BCEWithLogitsLoss(weight=torch.arange(5.0).double()), "vectors"),
    "own": (own, "vectors"),
    "own lambda": (lambda outputs, y: (outputs - y) ** 4, "points"),
    "own module": (OwnModule(), "vectors"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_each_point_is_that_of_the_loop(name):
    loss, kind = LOSSES[name]
    outputs, y = draw(kind)
    each = [[loss(outputs[t, i : i + 1], y[t, i : i + 1]).mean() for i in range(POINTS)] for t in range(TASKS)]
    found = point_loss(loss)(outputs, y)
    assert found.shape == (TASKS, POINTS)
    torch.testing.assert_close(found, torch.tensor(each, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if not name.startswith("own") and name != "without reduction"])
def test_its_mean_over_points_is_what_torch_returns(name):
    loss, kind = LOSSES[name]
    outputs, y = draw(kind)
    expected = torch.stack([loss(outputs[t], y[t]).mean() for t in range(TASKS)])
    torch.testing.assert_close(point_loss(loss)(outputs, y).mean(-1), expected, rtol=1e-12, atol=1e-12)


def test_the_users_loss_is_left_as_it_was():
    loss = nn.CrossEntropyLoss()
    point_loss(loss)
    assert loss.reduction == "mean"


def test_a_loss_that_normalizes_over_its_batch_takes_task_by_task():
    outputs, y = draw("vectors")
    expected = torch.stack([normalizing(outputs[t], y[t]) for t in range(TASKS)])
    torch.testing.assert_close(point_loss(normalizing)(outputs, y), expected, rtol=1e-12, atol=1e-12)


def test_a_loss_that_vmap_cannot_run_is_looped_over_with_one_warning():
    def branching(outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y) ** 2 if outputs.sum().item() > 0 else (outputs - y).abs()

    outputs, y = draw("points")
    loss = point_loss(branching)
    with pytest.warns(UserWarning, match="The loss branching runs one task at a time") as said:
        found = [loss(outputs, y) for _ in range(2)]
    assert len(said) == 1
    for losses in found:
        torch.testing.assert_close(losses, torch.stack([branching(*task) for task in zip(outputs, y)]))


@pytest.mark.parametrize("inner_loss, scale", [("sum", 2), ("mean", 1)])
def test_the_inner_step_has_the_scale_of_the_learner(inner_loss, scale):
    """The oracle's own step is scaled by N for the paper's sum over points divided by K."""
    module, episodes = seeded_module(mlp), classes((3,))
    network = Network.from_module(module, nn.CrossEntropyLoss(label_smoothing=0.1), ways=2)
    ours, _ = meta_gradient(Learner(network, 0.1, 2, inner_loss), network.init(torch.Generator()), episodes)
    theirs, _ = loop_over_tasks(module, nn.CrossEntropyLoss(label_smoothing=0.1), episodes, scale * 0.1, 2)
    assert relative_error(ours, {name: g / len(episodes) for name, g in theirs.items()}) < 1e-10


SUM, WEIGHTS, NUMBER = "sums over points, where MAML takes the mean", "has class weights", "returned a single number for 4"
REFUSED = {
    "a module's sum": (nn.CrossEntropyLoss(reduction="sum"), f"CrossEntropyLoss {SUM}.*inner_loss"),
    "a partial's sum": (partial(F.mse_loss, reduction="sum"), f"mse_loss {SUM}"),
    "class weights": (nn.CrossEntropyLoss(weight=torch.ones(5)), f"CrossEntropyLoss {WEIGHTS}.*each point's weighted loss"),
    "a partial's class weights": (partial(F.cross_entropy, weight=torch.ones(5)), f"cross_entropy {WEIGHTS}"),
    "weights of nll_loss": (nn.NLLLoss(weight=torch.ones(5)), f"NLLLoss {WEIGHTS}"),
    "a mean over the batch only": (nn.KLDivLoss(reduction="batchmean"), 'KLDivLoss has reduction="batchmean"'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_losses_that_maml_would_scale_are_refused(name):
    loss, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=sentence) as refusal:
        Network.from_module(mlp(), loss)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("loss", [lambda o, y: ((o - y) ** 2).mean(), lambda o, y: F.mse_loss(o, y)])
def test_an_own_loss_that_returns_a_single_number_is_refused(loss):
    with pytest.raises(ValueError, match=f"loss <lambda> {NUMBER} points: return the loss of each point"):
        point_loss(loss)(*draw("vectors"))


@pytest.mark.parametrize("returned", [lambda loss: None, lambda loss: (loss, loss), lambda loss: loss.tolist()])
def test_an_own_loss_that_returns_no_tensor_is_refused(returned):
    with pytest.raises(ValueError, match="loss <lambda> returned a .*, expected a tensor: return the loss of each point"):
        point_loss(lambda o, y: returned(((o - y) ** 2).mean(-1)))(*draw("vectors"))


# Outputs [B, 1] and targets [B], which broadcast to [B, B].


class Numbers:
    """Points x [T, 6, 3] with a target each, [T, 6] or, with an axis for the only output, [T, 6, 1]."""

    def __init__(self, axis: bool = False) -> None:
        self.axis = axis

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        x = torch.randn(2, tasks, 6, 3, generator=generator)
        y = x.sum(-1, keepdim=self.axis)
        return Episodes(x[0], y[0], x[1], y[1])


def variance(outputs: Tensor, y: Tensor) -> Tensor:
    """A mean and a logarithm of the variance for each number."""
    return (outputs[:, 0] - y) ** 2 * (-outputs[:, 1]).exp() + outputs[:, 1]


BROADCAST = {
    "own": lambda outputs, y: (outputs - y) ** 2,
    "own mean": lambda outputs, y: ((outputs - y) ** 2).mean(-1),
    "mse_loss": F.mse_loss,
    "HuberLoss": nn.HuberLoss(),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", BROADCAST)
@pytest.mark.parametrize("axis", [False, True])
def test_outputs_that_broadcast_with_the_targets_are_refused(name, axis):
    module = mlp(outputs=1) if not axis else nn.Sequential(mlp(outputs=1), nn.Flatten(0))
    learner = Learner(Network.from_module(module, BROADCAST[name]), 0.1)
    remedy = f"give them one shape, for example with {'y' if axis else 'outputs'}.squeeze"
    with pytest.raises(ValueError, match=rf"broadcast in the loss.*{remedy}") as refusal:
        MetaTrainer(learner, Numbers(axis), torch.Generator().manual_seed(0), 4).run(1)
    assert "\n" not in str(refusal.value)
    task = Numbers(axis).sample(1, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="broadcast in the loss"):
        fine_tune(learner, learner.network.init(torch.Generator()), task.support_x[0], task.support_y[0])


@pytest.mark.parametrize("outputs, loss", [(1, lambda outputs, y: (outputs.squeeze(-1) - y) ** 2), (2, variance)])
def test_a_loss_may_take_outputs_and_targets_of_two_shapes(outputs, loss):
    """As long as it pairs them point by point: the first loss is the loop's."""
    module, tasks = mlp(outputs=outputs), Numbers()
    network = Network.from_module(module, loss)
    found = MetaTrainer(Learner(network, 0.1), tasks, torch.Generator().manual_seed(0), 4).run(1)
    episodes = tasks.sample(4, torch.Generator().manual_seed(0))
    _, expected = loop_over_tasks(module, lambda outputs, y: loss(outputs, y).mean(), episodes, 0.1, 1)
    torch.testing.assert_close(found[0], expected.mean())
