"""A mismatched network, loss or task distribution raises a one-sentence error before training or evaluation begins."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maml_core import Episodes, Learner, Network
from maml_core.engine import MetaTrainer
from maml_core.evaluation import evaluate
from maml_core.networks import cross_entropy, squared_error
from maml_core.recipes import RECIPES

POINTS, OUTPUTS = 7, 3


class Tasks:
    """Points x [T, B, 4] and the targets `targets(x)`; always `returned` tasks, if given, however many are requested."""

    def __init__(self, targets: Callable[[Tensor], Tensor], returned: int | None = None) -> None:
        self.targets, self.returned = targets, returned

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        support, query = torch.randn(2, self.returned or tasks, POINTS, 4, generator=generator)
        return Episodes(support, self.targets(support), query, self.targets(query))


def one_output(x: Tensor) -> Tensor:
    return x.sum(-1)


def several_outputs(x: Tensor) -> Tensor:
    return x[..., :OUTPUTS]


def labels(x: Tensor) -> Tensor:
    return x[..., :OUTPUTS].argmax(-1)


def init(generator: torch.Generator) -> dict[str, Tensor]:
    return {"w": torch.randn(4, OUTPUTS, generator=generator), "b": torch.zeros(OUTPUTS)}


def forward(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """x [T, B, 4] -> [T, B, 3]"""
    return x @ weights["w"] + weights["b"][..., None, :]


def first_output(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """x [T, B, 4] -> [T, B]"""
    return forward(weights, x)[..., 0]


def mean_over_outputs(outputs: Tensor, y: Tensor) -> Tensor:
    return ((outputs - y) ** 2).mean(-1)


REGRESSION = Network(init, first_output, squared_error)
VECTORS = Network(init, forward, mean_over_outputs)
CLASSES = Network(init, forward, cross_entropy, ways=OUTPUTS)

VALID = {
    "one output": (REGRESSION, Tasks(one_output)),
    "several outputs": (VECTORS, Tasks(several_outputs)),
    "classes": (CLASSES, Tasks(labels)),
    "frozen bias": (replace(CLASSES, frozen=frozenset({"b"})), Tasks(labels)),
}
INVALID = {
    "a loss for every output": (
        replace(VECTORS, loss=squared_error), Tasks(several_outputs), r"\[2, 7, 3\].*expected one .*\[2, 7\]"
    ),
    "a scalar loss": (replace(REGRESSION, loss=F.mse_loss), Tasks(one_output), 'a scalar.*reduction="none"'),
    "a loss for every task": (
        replace(REGRESSION, loss=lambda p, y: ((p - y) ** 2).mean(-1)), Tasks(one_output), r"is \[2\], expected .*\[2, 7\]"
    ),
    "no loss": (replace(REGRESSION, loss=lambda p, y: None), Tasks(one_output), "returned a NoneType: return"),
    "targets with one more axis": (
        REGRESSION, Tasks(lambda x: one_output(x)[..., None]), r"outputs \[2, 7\] and y \[2, 7, 1\]"
    ),
    "outputs with one more axis": (
        replace(REGRESSION, forward=lambda w, x: first_output(w, x)[..., None]), Tasks(one_output), r"outputs \[2, 7, 1\]"
    ),
    "a forward without the task axis": (
        replace(REGRESSION, forward=lambda w, x: first_output(w, x).flatten()), Tasks(one_output),
        r"returned shape \[14\], expected \[2, 7"
    ),
    "one-hot labels": (
        replace(CLASSES, loss=lambda p, y: -(p.log_softmax(-1) * y).sum(-1)),
        Tasks(lambda x: F.one_hot(labels(x), OUTPUTS).float()), "one-hot.*argmax"
    ),
    "one-hot labels of integers": (CLASSES, Tasks(lambda x: F.one_hot(labels(x), OUTPUTS)), "one-hot.*argmax"),
    "labels as floats": (CLASSES, Tasks(lambda x: labels(x).float()), "labels must be integers"),
    "labels beyond the outputs": (CLASSES, Tasks(lambda x: labels(x) + 1), "from 1 to 3.*3 outputs"),
    "ways left at 1": (replace(CLASSES, ways=1), Tasks(labels), r"3 outputs but ways=1.*Network\(\.\.\., ways=3\)"),
    "ways differ from outputs": (replace(CLASSES, ways=5), Tasks(labels), "3 outputs but ways=5"),
    "fewer classes than ways": (
        CLASSES, Tasks(lambda x: labels(x).clamp(max=1)), 'have 2 classes but ways=3.*draw 3 classes.*inner_loss="mean"'
    ),
    "frozen name without a weight": (
        replace(CLASSES, frozen=frozenset({"bias"})), Tasks(labels), "frozen names 'bias'.*did you mean"
    ),
    "wrong number of tasks": (REGRESSION, Tasks(one_output, returned=5), "asked for 4 tasks but returned 5 in support_x"),
    "wrong number of targets": (
        REGRESSION, Tasks(lambda x: one_output(x)[:, 1:]), r"y has shape \[4, 6\] and support_x \[4, 7, 4\]"
    ),
    "no Episodes": (
        REGRESSION, type("Loose", (), {"sample": lambda self, tasks, generator: (1, 2)})(), "return Episodes, not tuple"
    ),
}  # fmt: skip


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def trainer(network: Network, tasks: Tasks, **settings) -> MetaTrainer:
    return MetaTrainer(Learner(network, 0.1, **settings), tasks, generator(), meta_batch=4)


@pytest.mark.parametrize("network, tasks", VALID.values(), ids=VALID)
def test_valid_combinations_train_and_evaluate(network, tasks):
    losses = trainer(network, tasks).run(3)
    assert losses.isfinite().all()
    scores = evaluate(Learner(network, 0.1), init(generator()), tasks, [0, 1], generator(), test_tasks=6, batch=4)
    assert scores[1].shape == (6,)


@pytest.mark.parametrize("network, tasks, sentence", INVALID.values(), ids=INVALID)
def test_training_refuses_invalid_combinations(network, tasks, sentence):
    with pytest.raises(ValueError, match=sentence) as refusal:
        trainer(network, tasks).run(1)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("network, tasks, sentence", INVALID.values(), ids=INVALID)
def test_evaluation_refuses_invalid_combinations(network, tasks, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluate(Learner(network, 0.1), init(generator()), tasks, [1], generator(), test_tasks=6, batch=4)


def test_ways_are_not_checked_if_the_inner_loss_is_a_mean():
    assert trainer(replace(CLASSES, ways=1), Tasks(labels), inner_loss="mean").run(2).isfinite().all()


def test_tasks_may_have_fewer_classes_than_ways_if_the_inner_loss_is_a_mean():
    fewer = Tasks(lambda x: labels(x).clamp(max=1))
    assert trainer(CLASSES, fewer, inner_loss="mean").run(2).isfinite().all()


def test_the_check_draws_no_tasks_of_its_own():
    """It uses the first meta-batch, so tasks are sampled only once per meta-iteration."""
    sampled = []
    tasks = Tasks(lambda x: sampled.append(len(x)) or one_output(x))
    trainer(REGRESSION, tasks).run(3)
    assert sampled == [4] * 6  # support and query of each


def test_the_check_runs_only_once(monkeypatch):
    checks = []
    monkeypatch.setattr("maml_core.engine.trainer.check_training", lambda *arguments: checks.append(1))
    ours = trainer(REGRESSION, Tasks(one_output))
    ours.run(3)
    ours.run(2)
    assert checks == [1]


def test_several_outputs_are_scored_by_their_mean_squared_error():
    learner, tasks = Learner(VECTORS, 0.1), Tasks(several_outputs)
    theta = init(generator())
    scores = evaluate(learner, theta, tasks, [0], generator(), test_tasks=4, batch=4)[0]
    episodes = tasks.sample(4, generator())
    by_hand = [F.mse_loss(task.query_x @ theta["w"], task.query_y) for task in episodes]
    torch.testing.assert_close(scores, torch.stack(by_hand))


def test_only_evaluation_refuses_outputs_that_it_cannot_score():
    """A network that also predicts its variance can be trained, but evaluation reports a squared error."""
    network = Network(init, forward, lambda p, y: (p[..., 0] - y) ** 2 * (-p[..., 1]).exp() + p[..., 1])
    assert trainer(network, Tasks(one_output)).run(2).isfinite().all()
    with pytest.raises(ValueError, match="squared error.*differ in shape"):
        evaluate(Learner(network, 0.1), init(generator()), Tasks(one_output), [0], generator(), test_tasks=4)


class Typed(Tasks):
    """Points of another type, and targets of theirs."""

    def __init__(self, x: torch.dtype, y: torch.dtype) -> None:
        super().__init__(one_output)
        self.x, self.y = x, y

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        drawn = super().sample(tasks, generator)
        x = (t.to(self.x) for t in (drawn.support_x, drawn.query_x))
        y = (t.to(self.y) for t in (drawn.support_y, drawn.query_y))
        return Episodes(next(x), next(y), next(x), next(y))


def linear(dtype: torch.dtype = torch.float32, loss=F.mse_loss) -> Network:
    return Network.from_module(nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)).to(dtype), loss)


SINGLE, DOUBLE = torch.float32, torch.float64
TYPES = {
    "double weights": (linear(DOUBLE), Typed(SINGLE, SINGLE), r"x is float32 and the weights are float64: convert x with "
                       r"x.to\(torch.float64\) in the tasks, or a module with module.to\(torch.float32\)"),
    "double x": (linear(), Typed(DOUBLE, SINGLE), "x is float64 and the weights are float32"),
    "double x of a function": (REGRESSION, Typed(DOUBLE, DOUBLE), "x is float64 and the weights are float32"),
    "half x": (linear(), Typed(torch.float16, SINGLE), "x is float16"),
    "integers": (linear(), Typed(torch.int64, SINGLE), "cannot take x of int64 and y of float32 .*return float32"),
    "a loss of one type": (linear(loss=F.huber_loss), Typed(SINGLE, DOUBLE), "cannot take x of float32 and y of float64"),
    "floats for ids": (
        Network.from_module(nn.Sequential(nn.Embedding(9, 1), nn.Flatten()), mean_over_outputs), Typed(SINGLE, SINGLE),
        "cannot take x of float32.*int64 for labels and what nn.Embedding takes"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_types_that_do_not_fit_are_refused_in_training_and_evaluation(name):
    network, tasks, sentence = TYPES[name]
    with pytest.raises(ValueError, match=sentence) as refusal:
        trainer(network, tasks).run(1)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=sentence):
        evaluate(Learner(network, 0.1), network.init(generator()), tasks, [1], generator(), test_tasks=4)


def test_targets_may_be_of_another_type_where_the_loss_takes_them():
    network = linear(DOUBLE)
    found, expected = (trainer(network, Typed(DOUBLE, dtype)).run(1) for dtype in (SINGLE, DOUBLE))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("returned, sentence", [(lambda g: list(init(g).items()), "not list"),
                                                (lambda g: {"w": torch.zeros(4, 3, dtype=torch.long)}, "w: torch.int64"),
                                                (lambda g: {"w": [1.0]}, "w: list")])  # fmt: skip
def test_init_must_return_weights(returned, sentence):
    with pytest.raises(ValueError, match=f"dictionary of floating-point tensors.*{sentence}"):
        trainer(replace(REGRESSION, init=returned), Tasks(one_output))


def test_parameters_of_a_module_are_detached_and_left_unchanged():
    module = nn.Linear(4, OUTPUTS)
    before = {name: w.clone() for name, w in module.named_parameters()}
    network = Network(
        lambda generator: dict(module.named_parameters()),
        lambda w, x: (x @ w["weight"].mT + w["bias"][..., None, :])[..., 0],
        squared_error,
    )
    ours = trainer(network, Tasks(one_output))
    state = ours.state()
    losses = ours.run(3)
    assert not losses.requires_grad
    assert all(not w.requires_grad and w.grad_fn is None for w in ours.theta.values())
    ours.load_state(state)  # writes in place
    for name, w in module.named_parameters():
        assert torch.equal(w, before[name])


@pytest.mark.parametrize(
    "name", ["sinusoid-5shot", "omniglot-5way-1shot", "omniglot-20way-1shot", "omniglot-5way-1shot-memory"]
)
def test_recipes_pass_the_check(name, characters):
    recipe = RECIPES[name]
    tasks = recipe.build_tasks(None if recipe.is_regression else characters.split("train"))
    MetaTrainer(recipe.build_learner(), tasks, generator(), meta_batch=2).run(1)
