"""theta taken home: as a module that `fine_tune` returns, and as a state dict on disk."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maml_core import Learner, Network, adapt, fine_tune, load_weights, save_weights
from maml_core.learners import VARIANTS
from maml_core.networks import sinusoid_network
from maml_core.util import seeded_generator as seeded
from tests.modules.oracle import ConvNet, classes, mlp, seeded_module

EPISODES = classes((3,), tasks=1)
X, Y = EPISODES.support_x[0], EPISODES.support_y[0]


class Net(nn.Module):
    """A class of the user's own, with a constant weight and a buffer: x [B, 3] -> [B, 2]."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.body, self.scale, self.head = nn.Linear(3, width), nn.Parameter(torch.rand(width)), nn.Linear(width, 2)
        self.scale.requires_grad_(False)
        self.register_buffer("shift", torch.rand(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(x)) * self.scale + self.shift)


def constants() -> dict[str, torch.Tensor]:
    """The state dict of a Net that differs from others in its constants only."""
    return seeded_module(Net).float().state_dict() | {"shift": torch.zeros(5)}


def learner_of(module: nn.Module, steps: int = 2, **options) -> Learner:
    return Learner(Network.from_module(module, F.cross_entropy, 2, **options), 0.1, steps, "mean")


def moved(theta: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """theta as if after training."""
    return {name: w + 0.1 * torch.randn(w.shape, generator=seeded(5), dtype=w.dtype) for name, w in theta.items()}


def adapted_by_hand(module: nn.Module, steps: int) -> nn.Module:
    """Plain gradient descent on the support set, in place."""
    optimizer = torch.optim.SGD([w for w in module.parameters() if w.requires_grad], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(module(X), Y).backward()
        optimizer.step()
    return module


@pytest.mark.parametrize("steps", [None, 0, 1, 5])
def test_fine_tuning_is_gradient_descent_from_theta(steps):
    """The module has the user's class, its outputs are those of the adapted weights, and a fresh instance loads it."""
    learner = learner_of(seeded_module(Net))
    theta = moved(learner.network.init(seeded(0)))
    tuned = fine_tune(learner, theta, X, Y, steps)
    assert type(tuned) is Net and not any(part.training for part in tuned.modules())
    assert not tuned.scale.requires_grad and tuned.head.weight.requires_grad and tuned.head.weight.grad_fn is None
    by_hand = seeded_module(Net)
    by_hand.load_state_dict(theta, strict=False)
    query = EPISODES.query_x[0]
    torch.testing.assert_close(
        tuned(query), adapted_by_hand(by_hand, 2 if steps is None else steps)(query), rtol=1e-10, atol=1e-12
    )
    phi = adapt(learner, theta, X[None], Y[None], steps)
    torch.testing.assert_close(tuned(query), learner.network.forward(phi, query[None])[0], rtol=1e-12, atol=1e-12)
    fresh = Net().double()
    fresh.load_state_dict(tuned.state_dict(), strict=True)
    torch.testing.assert_close(fresh(query), tuned(query), rtol=0, atol=0)


def test_the_tuned_module_is_independent_of_theta_and_of_the_original():
    module = seeded_module(Net)
    learner = learner_of(module)
    theta = learner.network.init(seeded(0))
    copies = [{name: w.clone() for name, w in weights.items()} for weights in (theta, module.state_dict())]
    adapted_by_hand(fine_tune(learner, theta, X, Y, 0), 3)
    for weights, before in zip((theta, module.state_dict()), copies):
        assert all(torch.equal(w, before[name]) for name, w in weights.items())


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_variant_fine_tunes(variant):
    network = Network.from_module(seeded_module(mlp), F.cross_entropy, 2)
    learner = VARIANTS[variant](network, 0.1, 2, "mean")
    theta = {name: w.double() for name, w in learner.network.init(seeded(0)).items()}
    tuned = fine_tune(learner, theta, X, Y)
    phi = adapt(learner, theta, X[None], Y[None])
    torch.testing.assert_close(tuned(X), learner.network.forward(phi, X[None])[0], rtol=1e-12, atol=1e-12)
    assert torch.equal(tuned[0].weight, theta["0.weight"]) is (variant == "anil")


def test_running_statistics_become_the_support_sets():
    """Its mean and variance at the adapted weights, by which each point is then normalized alone, as it was together."""
    learner = learner_of(seeded_module(ConvNet), batch_norm="batch")
    task = classes((1, 6, 6), tasks=1)
    x, y = task.support_x[0], task.support_y[0]
    tuned = fine_tune(learner, learner.network.init(seeded(0)), x, y)
    h = tuned.conv(x)
    torch.testing.assert_close(tuned.norm.running_mean, h.mean((0, 2, 3)), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(tuned.norm.running_var, h.var((0, 2, 3), correction=0), rtol=1e-10, atol=1e-12)
    assert tuned.norm.momentum == 0.1 and not tuned.norm.training
    torch.testing.assert_close(tuned(x[:1]), tuned(x)[:1], rtol=1e-10, atol=1e-12)
    ConvNet().double().load_state_dict(tuned.state_dict(), strict=True)
    phi = adapt(learner, learner.network.init(seeded(0)), x[None], y[None])
    in_the_inner_loop = learner.network.forward(phi, x[None])[0]
    torch.testing.assert_close(tuned(x), in_the_inner_loop, rtol=1e-10, atol=1e-12)
    tuned.norm.train()
    torch.testing.assert_close(tuned(x), in_the_inner_loop, rtol=1e-10, atol=1e-12)


def test_fine_tuning_a_function_of_weights_is_refused():
    learner = Learner(sinusoid_network(), 0.01)
    with pytest.raises(ValueError, match="fine_tune returns an nn.Module.*use adapt.*Network.from_module") as refusal:
        fine_tune(learner, learner.network.init(seeded(0)), torch.zeros(5, 1), torch.zeros(5))
    assert "\n" not in str(refusal.value)


def test_fine_tuning_in_inference_mode_is_refused():
    learner = learner_of(seeded_module(Net))
    theta = learner.network.init(seeded(0))
    with pytest.raises(ValueError, match="use torch.no_grad.. instead") as refusal, torch.inference_mode():
        fine_tune(learner, theta, X, Y)
    assert "\n" not in str(refusal.value)
    with torch.no_grad():
        assert torch.equal(fine_tune(learner, theta, X, Y)(X), fine_tune(learner, theta, X, Y)(X))


SUPPORT_SETS = {
    "a task axis": (X[None], Y[None], r"points of one task.*not x \[1, 4, 3\] and y \[1, 4\]: leave out the task axis"),
    "several tasks": (X.expand(3, 4, 3), Y.expand(3, 4), "leave out the task axis"),
    "one-hot labels": (X, F.one_hot(Y, 2), r"convert one-hot labels with y.argmax\(-1\)"),
    "float labels": (X, Y.double(), r"labels must be integers.*y.long\(\)"),
    "labels from 1": (X, Y + 1, "labels range from 1 to 2, but the network has 2 outputs"),
    "fewer labels": (X, Y[1:], r"x \[4, 3\] and y \[3\]: give a label or target for each point"),
    "a single point": (X[0], Y[0], "give a label or target for each point"),
    "arrays": (X.numpy(), Y.numpy(), "x and y must be tensors, not ndarray: convert them with torch.as_tensor"),
    "a list": (X, Y.tolist(), "must be tensors, not list"),
}


@pytest.mark.parametrize("name", SUPPORT_SETS)
def test_what_is_no_support_set_of_one_task_is_refused(name):
    x, y, sentence = SUPPORT_SETS[name]
    learner = learner_of(mlp().double())
    learner = replace(learner, network=replace(learner.network, ways=2))
    with pytest.raises(ValueError, match=sentence) as refusal:
        fine_tune(learner, learner.network.init(seeded(0)), x, y)
    assert "\n" not in str(refusal.value)


def test_steps_that_cannot_be_are_refused():
    learner = learner_of(mlp().double())
    with pytest.raises(ValueError, match="steps must be at least 0, not -1"):
        fine_tune(learner, learner.network.init(seeded(0)), X, Y, steps=-1)


# Weights on disk.


def test_saved_weights_load_into_the_users_class_and_back(tmp_path):
    network = learner_of(seeded_module(Net)).network
    theta = moved(network.init(seeded(0)))
    save_weights(network, theta, tmp_path / "net.pt")
    fresh = Net().double()
    fresh.load_state_dict(torch.load(tmp_path / "net.pt"), strict=True)
    torch.testing.assert_close(fresh(X), network.forward(theta, X[None])[0], rtol=1e-12, atol=1e-12)
    loaded = load_weights(network, str(tmp_path / "net.pt"))
    assert list(loaded) == list(theta) and all(torch.equal(w, theta[name]) for name, w in loaded.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.pt"]


def test_the_state_dict_of_a_pretrained_module_is_loaded(tmp_path):
    """Batch norm's running statistics, which theta lacks, are passed over."""
    network = learner_of(ConvNet(), batch_norm="batch").network
    pretrained = seeded_module(ConvNet).float()
    torch.save(pretrained.state_dict(), tmp_path / "net.pt")
    loaded = load_weights(network, tmp_path / "net.pt")
    assert loaded.keys() == network.init(seeded(0)).keys()
    assert all(torch.equal(w, pretrained.get_parameter(name)) for name, w in loaded.items())


def test_a_variants_alphas_are_saved_beside_the_state_dict(tmp_path):
    network = VARIANTS["meta-sgd"](learner_of(seeded_module(mlp)).network, 0.1).network
    theta = moved({name: w.double() for name, w in network.init(seeded(0)).items()})
    save_weights(network, theta, tmp_path / "net.pt")
    loaded = load_weights(network, tmp_path / "net.pt")
    assert loaded.keys() == theta.keys() and all(torch.equal(w, theta[name]) for name, w in loaded.items())
    missing = mlp().double().load_state_dict(torch.load(tmp_path / "net.pt"), strict=False)
    assert not missing.missing_keys and all(name.startswith("alpha.") for name in missing.unexpected_keys)


def test_weights_of_a_function_are_saved_as_they_are(tmp_path):
    network = sinusoid_network()
    theta = network.init(seeded(0))
    save_weights(network, theta, tmp_path / "net.pt")
    loaded = load_weights(network, tmp_path / "net.pt")
    assert loaded.keys() == theta.keys() and all(torch.equal(w, theta[name]) for name, w in loaded.items())


def test_tied_weights_are_saved_under_both_names(tmp_path):
    module = seeded_module(mlp)
    module.append(nn.Linear(2, 5)).append(nn.Linear(5, 2)).double()
    module[4].weight = module[2].weight
    network = learner_of(module).network
    theta = moved(network.init(seeded(0)))
    assert "4.weight" not in theta
    save_weights(network, theta, tmp_path / "net.pt")
    saved = torch.load(tmp_path / "net.pt")
    assert torch.equal(saved["4.weight"], theta["2.weight"]) and torch.equal(saved["2.weight"], theta["2.weight"])
    assert all(torch.equal(w, theta[name]) for name, w in load_weights(network, tmp_path / "net.pt").items())


def spoiled(value: float) -> dict[str, torch.Tensor]:
    """The state dict of an mlp with one value that is not finite, or not in float32."""
    state = mlp().double().state_dict()
    state["2.weight"][0, 0] = value
    return state


@pytest.mark.parametrize("file, network", [(torch.float64, torch.float32), (torch.float32, torch.float64)])
def test_loaded_weights_take_the_networks_type(file, network, tmp_path):
    module = seeded_module(mlp).to(file)
    torch.save(module.state_dict(), tmp_path / "net.pt")
    loaded = load_weights(learner_of(mlp().to(network)).network, tmp_path / "net.pt")
    assert all(torch.equal(w, module.get_parameter(name).to(network)) for name, w in loaded.items())


UNREADABLE = {
    "NaN": (lambda path: torch.save(spoiled(float("nan")), path), "1 of 10 values of 2.weight are NaN or infinite: train"),
    "beyond float32": (lambda path: torch.save(spoiled(1e300), path), "1 of 10 values of 2.weight are NaN or infinite"),
    "garbage": (lambda path: path.write_bytes(b"garbage"), "cannot be read as a state dict .*: save it again"),
    "a number": (lambda path: torch.save(3, path), "is no state dict, a dictionary of tensors by name"),
    "a checkpoint": (lambda path: torch.save({"theta": {}, "iteration": 3}, path), "is no state dict"),
    "another width": (
        lambda path: torch.save(nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 2)).state_dict(), path),
        r"a different network: 0.bias is \[7\] there and \[5\] here. Load it into a network of the class",
    ),
    "other constants": (
        lambda path: torch.save(constants(), path),
        "has other values of shift, which is not trained.*before from_module",
    ),
    "another class": (
        lambda path: torch.save(ConvNet().state_dict(), path),
        "a different network: 0.bias is missing there",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_state_dict_of_the_network_is_refused(name, tmp_path):
    write, sentence = UNREADABLE[name]
    write(tmp_path / "net.pt")
    network = learner_of(seeded_module(Net).float() if name == "other constants" else mlp()).network
    with pytest.raises(ValueError, match=sentence) as refusal:
        load_weights(network, tmp_path / "net.pt")
    assert "\n" not in str(refusal.value) and "net.pt" in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file .*net.pt: check the path"):
        load_weights(learner_of(Net()).network, tmp_path / "net.pt")
