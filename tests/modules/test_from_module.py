"""Meta-gradients of modules of many kinds against the loop over tasks (`oracle`), in float64."""

import copy
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maml_core import Episodes, Learner, Network, meta_gradient
from maml_core.maml import gradient_of_sum
from maml_core.networks import conv_network
from maml_core.util import seeded_generator as seeded
from tests.modules.oracle import ConvNet, classes, loop_over_tasks, mlp, relative_error, seeded_module

ALPHA = 0.05


class Encoder(nn.Module):
    """A transformer of two layers over x [B, 3, 4], whose fused attention has no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), 2)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class Recurrent(nn.Module):
    """x [B, 3, 3] -> [B, 2]"""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.recurrent, self.head = kind(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


class Branching(nn.Module):
    """Python decides by the data which layer is taken, and the tasks of a meta-batch decide differently."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.left, self.right = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.body(x))
        return self.left(h) if x.sum().item() > 0 else self.right(h) * 2


class UNet(nn.Module):
    """Down, up and a skip: x [B, 1, 8, 8] -> y [B, 2, 8, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm, self.up, self.last = nn.GroupNorm(2, 4), nn.ConvTranspose2d(4, 3, 2, stride=2), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.silu(self.first(x))
        return self.last(torch.cat([skip, self.up(F.silu(self.norm(self.down(skip))))], 1))


class Tied(nn.Module):
    """One weight as embedding and decoder: words x [B] -> logits [B, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.decoder = nn.Embedding(5, 3), nn.Linear(3, 3), nn.Linear(3, 5, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.hidden(self.embedding(x))))


def pictures_to_pictures() -> Episodes:
    x, y = (torch.randn(2, 3, 2, channels, 8, 8, generator=seeded(channels), dtype=torch.float64) for channels in (1, 2))
    return Episodes(x[0], y[0], x[1], y[1])


def words() -> Episodes:
    return Episodes(*torch.randint(5, (4, 3, 6), generator=seeded(0)))


MODULES = {  # a module, its loss, tasks, further arguments of from_module
    "mlp": (mlp, F.cross_entropy, classes((3,)), {}),
    "attention": (Encoder, F.cross_entropy, classes((3, 4)), {}),
    "batch norm": (ConvNet, F.cross_entropy, classes((1, 6, 6)), {"batch_norm": "batch"}),
    "u-net": (UNet, F.mse_loss, pictures_to_pictures(), {}),
    "tied weights": (Tied, F.cross_entropy, words(), {}),
}
LOOPS = {"LSTM": Recurrent, "GRU": partial(Recurrent, nn.GRU), "control flow": Branching}


def compare(module: nn.Module, loss, episodes: Episodes, steps: int, alpha: float = ALPHA, **options) -> float:
    """The relative error of the meta-gradient of `from_module`; the losses must be equal, too."""
    network = Network.from_module(module, loss, **options)
    ours, losses = gradient_of_sum(Learner(network, alpha, steps, "mean"), network.init(seeded(0)), episodes)
    theirs, expected = loop_over_tasks(module, loss, episodes, alpha, steps, tuple(network.frozen))
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=0)
    return relative_error(ours, theirs)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", MODULES)
def test_the_meta_gradient_is_that_of_the_loop(name, steps):
    """Without a warning: all tasks run at once."""
    build, loss, episodes, options = MODULES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compare(seeded_module(build), loss, episodes, steps, **options) < 1e-10


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", LOOPS)
def test_what_vmap_cannot_run_is_looped_over_with_one_warning(name, steps):
    module, episodes = seeded_module(LOOPS[name]), classes((3,) if name == "control flow" else (3, 3))
    with pytest.warns(UserWarning) as said:
        assert compare(module, F.cross_entropy, episodes, steps) < 1e-10
    assert len(said) == 1
    assert f"{type(module).__name__} runs one task at a time, slower but otherwise the same: vmap" in str(said[0].message)


def test_a_mistake_in_the_module_is_raised_as_itself():
    network = Network.from_module(mlp(inputs=4), F.cross_entropy)
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        warnings.simplefilter("error")
        network.forward(network.init(seeded(0)), torch.randn(2, 5, 3))


# torchvision's networks.


class Swish(nn.Module):
    """x relu6(x + 3) / 6 from operators that torch can differentiate twice, for the oracle; `gate`: without the x."""

    def __init__(self, gate: bool) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x + 3) / 6 * (1 if self.gate else x)


def twice_differentiable(module: nn.Module) -> nn.Module:
    module = copy.deepcopy(module)
    for part in module.modules():
        for name, child in part.named_children():
            if isinstance(child, nn.Hardswish | nn.Hardsigmoid):
                setattr(part, name, Swish(isinstance(child, nn.Hardsigmoid)))
    return module


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


def test_resnet18():
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    module = models.resnet18(num_classes=5, norm_layer=group_norm).double()
    assert compare(module, nn.CrossEntropyLoss(), classes((3, 16, 16), 2, 2, 5), steps=1) < 1e-10


@pytest.mark.parametrize("batch_norm, steps", [(None, 2), ("batch", 1)])
def test_mobilenet_v3(batch_norm, steps):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    settings = {} if batch_norm else {"norm_layer": group_norm}
    module = models.mobilenet_v3_small(num_classes=2, dropout=0.0, **settings).double()
    network = Network.from_module(module, F.cross_entropy, batch_norm=batch_norm)
    episodes = classes((3, 32, 32), 2, 3)
    ours, _ = gradient_of_sum(Learner(network, ALPHA, steps, "mean"), network.init(seeded(0)), episodes)
    theirs, _ = loop_over_tasks(twice_differentiable(module), F.cross_entropy, episodes, ALPHA, steps)
    assert relative_error(ours, theirs) < 1e-10
    x = episodes.support_x[:, :2]
    expected = torch.stack([copy.deepcopy(module).train()(points) for points in x])  # with torch's own hardswish
    torch.testing.assert_close(network.forward(network.init(seeded(0)), x), expected, rtol=1e-9, atol=1e-9)


# The paper's network, written as people write modules.


class Same(nn.Module):
    """TensorFlow's SAME padding for a 3x3 kernel at stride 2, which is asymmetric for even sides."""

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        total = max((-(-side // 2) - 1) * 2 + 3 - side, 0)
        before, after = total // 2, total - total // 2
        return F.pad(x, (before, after, before, after))


class Beta(nn.Module):
    """Batch norm with a beta and no gamma."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, bias=self.beta, training=True, eps=1e-3)


class Paper(nn.Module):
    def __init__(self, filters: int) -> None:
        super().__init__()
        sizes = (1, filters, filters, filters)
        self.blocks = nn.Sequential(
            *(nn.Sequential(Same(), nn.Conv2d(size, filters, 3, 2, bias=False), Beta(filters), nn.ReLU()) for size in sizes)
        )
        self.head = nn.Linear(filters, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x).mean((2, 3)))


def theirs_by_our_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of `conv_network` by the names and in the layout of Paper."""
    renamed = {"head.weight": weights["w5"].T, "head.bias": weights["b5"]}
    for i in range(4):
        renamed[f"blocks.{i}.1.weight"] = weights[f"conv{i + 1}"].permute(3, 2, 0, 1)
        renamed[f"blocks.{i}.2.beta"] = weights[f"beta{i + 1}"]
    return renamed


@pytest.mark.parametrize("inner_loss", ["sum", "mean"])
def test_the_papers_network_as_a_module_has_the_same_meta_gradient(inner_loss):
    by_hand, module = conv_network(5, filters=8), Paper(8).double()
    theta = {name: w.double() for name, w in by_hand.init(seeded(0)).items()}
    theta |= {f"beta{i}": 0.1 * torch.randn(8, generator=seeded(i)).double() for i in range(1, 5)}
    module.load_state_dict(theirs_by_our_names(theta))
    betas = [f"blocks.{i}.2" for i in range(4)]
    network = Network.from_module(module, nn.CrossEntropyLoss(), ways=5, frozen=betas)
    episodes = classes((1, 28, 28), 3, 10, 5)
    ours, losses = meta_gradient(Learner(network, 0.4, 1, inner_loss), network.init(seeded(0)), episodes)
    theirs, expected = meta_gradient(Learner(by_hand, 0.4, 1, inner_loss), theta, episodes)
    torch.testing.assert_close(losses, expected, rtol=1e-9, atol=0)
    assert relative_error(ours, theirs_by_our_names(theirs)) < 1e-9
