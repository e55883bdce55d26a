"""What from_module copies and swaps in a module, and what it refuses with one sentence."""

import copy
import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from maml_core import Learner, Network, adapt
from maml_core.engine import Execution
from maml_core.maml import gradient_of_sum
from maml_core.modules.prepare import MOST_WINDOWS, Convolution, Hardsigmoid, Hardswish, prepare
from maml_core.util import seeded_generator as seeded
from tests.modules.oracle import ConvNet, Tasks, classes, loop_over_tasks, mlp, relative_error, seeded_module
from tests.small import make_trainer

# Convolution: what the compiler gets of it.


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel, stride, padding", [
    (3, 1, 1), (3, 2, 1), (3, 2, 0), (1, 1, 0), (1, 2, 0), (2, 2, 1), ((3, 2), (2, 1), (1, 0)), ((1, 5), (3, 2), (0, 2)),
    (3, 4, 2),
])  # fmt: skip
def test_the_compiled_convolution_is_torchs(kernel, stride, padding, bias, monkeypatch, generator):
    plain = seeded_module(lambda: nn.Conv2d(2, 3, kernel, stride, padding, bias=bias))
    ours = prepare(nn.Sequential(plain))[0]
    assert type(ours) is Convolution
    x = torch.randn(2, 2, 7, 8, generator=generator, dtype=torch.float64)
    weights = dict(plain.named_parameters())
    expected, slope = torch.func.vjp(lambda x, w: functional_call(plain, w, (x,)), x, weights)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: pytest.fail("not the path that is compiled"))
    found, our_slope = torch.func.vjp(lambda x, w: functional_call(ours, w, (x,)), x, weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    cotangent = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(our_slope(cotangent), slope(cotangent), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", [{"groups": 2}, {"dilation": 2}, {"padding_mode": "circular", "padding": 1},
                                      {"padding": "same"}, {"kernel_size": 5}])  # fmt: skip
def test_other_convolutions_stay_torchs(settings):
    assert MOST_WINDOWS < 25
    module = nn.Sequential(nn.Conv2d(**{"in_channels": 2, "out_channels": 2, "kernel_size": 3} | settings))
    assert type(prepare(module)[0]) is nn.Conv2d


# Activations.


@pytest.mark.parametrize("ours, theirs", [(Hardsigmoid(), F.hardsigmoid), (Hardswish(), F.hardswish)])
def test_activations_equal_torchs(ours, theirs):
    x = torch.linspace(-5, 5, 41, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-14, atol=1e-14)
    inside = x[(x.abs() - 3).abs() > 1e-9].requires_grad_()  # away from the corners
    slopes = [torch.autograd.grad(f(inside).sum(), inside)[0] for f in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-7, atol=1e-14)  # torch's 1/6 is a float32


def test_one_activation_under_two_names_is_swapped_under_both():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.first = nn.Linear(3, 3), nn.Hardsigmoid()
            self.second = self.first

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(self.body(x)))

    module = seeded_module(Twice)
    network = Network.from_module(module, F.cross_entropy)
    ours, _ = gradient_of_sum(Learner(network, 0.1, 1, "mean"), network.init(seeded(0)), classes((3,), ways=3))
    module.first = module.second = Hardsigmoid()
    assert relative_error(ours, loop_over_tasks(module, F.cross_entropy, classes((3,), ways=3), 0.1, 1)[0]) < 1e-10


# The user's own module.


@pytest.mark.parametrize("training", [True, False])
def test_the_users_module_is_neither_changed_nor_trained(training):
    module = seeded_module(lambda: nn.Sequential(ConvNet(0.2), nn.Hardswish())).train(training)
    before, kinds = copy.deepcopy(module.state_dict()), [type(part) for part in module.modules()]
    network = Network.from_module(module, F.cross_entropy, 2, batch_norm="batch")
    trainer = make_trainer(Learner(network, 0.1), Tasks((1, 6, 6)), seeded(0), 2)
    trainer.run(2)
    adapt(trainer.learner, trainer.theta, torch.randn(1, 4, 1, 6, 6).double(), torch.tensor([[0, 1, 0, 1]]))
    assert before.keys() == module.state_dict().keys()
    assert all(torch.equal(w, before[name]) for name, w in module.state_dict().items())
    assert [type(part) for part in module.modules()] == kinds
    assert module.training is training and all(part.training is training for part in module.modules())
    assert all(w.grad is None and w.requires_grad for w in module.parameters())
    assert module[0].norm.track_running_stats and module[0].norm.momentum == 0.1


# Refusals.


def with_attribute(value: Callable[[nn.Module], object]) -> nn.Module:
    module = mlp()
    module.kept = value(module)
    return module


REFUSED: dict[str, tuple[Callable[[], object], dict[str, object], str]] = {
    "running statistics": (
        ConvNet, {}, r'ConvNet has 1 normalization layers with running statistics \(first norm\).*batch_norm="batch"'
    ),
    "instance norm's": (lambda: nn.Sequential(mlp(), nn.InstanceNorm1d(2, track_running_stats=True)), {}, "first 1"),
    "an unknown batch_norm": (ConvNet, {"batch_norm": "eval"}, "batch_norm must be None or \"batch\", not 'eval'"),
    "lazy layers": (lambda: nn.Sequential(nn.LazyLinear(3)), {}, "Sequential has lazy layers.*run one batch through it"),
    "no parameters": (nn.ReLU, {}, "ReLU has no parameter with requires_grad=True: nothing could adapt"),
    "only constants": (lambda: mlp().requires_grad_(False), {}, "no parameter with requires_grad=True"),
    "an unknown frozen name": (mlp, {"frozen": ["1"]}, "frozen names '1', and no trained weight.*the module has 0, 2"),
    "part of a name": (mlp, {"frozen": "0.w"}, "frozen names '0.w', and no trained weight lies there"),
    "an unknown head": (mlp, {"head": "classifier"}, "head names 'classifier', and no trained weight lies there"),
    "a computed tensor": (
        lambda: with_attribute(lambda module: module[0].weight * 2), {},
        r"Sequential cannot be copied \(Only Tensors created explicitly.*\): keep nothing in it that copy.deepcopy refuses"
    ),
    "a lock": (lambda: with_attribute(lambda module: threading.Lock()), {}, "Sequential cannot be copied .*lock"),
    "a class": (lambda: ConvNet, {}, "from_module takes an nn.Module, such as nn.Linear.*, not <class"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_modules_that_cannot_be_meta_trained_are_refused(name):
    build, options, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=sentence) as refusal:
        Network.from_module(build(), F.cross_entropy, 2, **options)
    assert "\n" not in str(refusal.value)


class Calling(nn.Module):
    """Calls a function between two linear layers."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.first, self.last, self.function = nn.Linear(3, 4), nn.Linear(4, 2), function

    def forward(self, x: Tensor) -> object:
        return self.function(self.last(torch.tanh(self.first(x))))


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_an_operator_without_a_second_derivative_needs_first_order(engine, monkeypatch):
    """And the first-order gradient is the loop's."""
    monkeypatch.setattr("maml_core.engine.trainer.compile_whole", lambda function, device, threads: function)
    monkeypatch.setattr("maml_core.engine.trainer.capture", lambda step, generator: step)
    monkeypatch.setattr(Execution, "check", lambda self, device, meta_batch: None)  # it needs a GPU
    module = seeded_module(lambda: Calling(F.hardsigmoid))
    network = Network.from_module(module, F.cross_entropy, 2)
    trainer = make_trainer(Learner(network, 0.1), Tasks(), seeded(0), engine=engine)
    with pytest.raises(ValueError, match="MAML needs second derivatives.*hardsigmoid.*first_order=True") as refusal:
        trainer.run(1)
    assert "\n" not in str(refusal.value) and trainer.iteration == 0
    first_order = Learner(network, 0.1, 2, "mean", first_order=True)
    assert make_trainer(first_order, Tasks(), seeded(0), engine=engine).run(2).isfinite().all()
    ours, _ = gradient_of_sum(first_order, network.init(seeded(0)), classes((3,)))
    theirs, _ = loop_over_tasks(module, F.cross_entropy, classes((3,)), 0.1, 2, first_order=True)
    assert relative_error(ours, theirs) < 1e-10


class WithState(nn.Module):
    """An LSTM's outputs and its state, as torch's own returns them."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 2, batch_first=True)

    def forward(self, x: Tensor) -> object:
        return self.lstm(x[:, None])


@pytest.mark.parametrize("build, kind", [
    (lambda: Calling(lambda h: (h, h)), "tuple"), (lambda: Calling(lambda h: {"logits": h}), "dict"),
    (lambda: Calling(lambda h: None), "NoneType"), (WithState, "tuple"),
])  # fmt: skip
def test_a_module_that_returns_something_else_than_its_outputs_is_refused(build, kind):
    network = Network.from_module(seeded_module(build), F.cross_entropy, 2)
    with pytest.raises(
        ValueError, match=f"returned a {kind}, expected a tensor: return the outputs that.*, alone"
    ) as refusal:
        make_trainer(Learner(network, 0.1), Tasks(), seeded(0)).run(1)
    assert "\n" not in str(refusal.value)
