"""The paper's four networks, as functions of (weights, x).

Weights are a dictionary of tensors. Each may be shared (`[in, out]`) or have a task axis (`[T, in, out]`), and one forward
serves both: matrix products broadcast over leading dimensions, so with the task axis in front, T small products become one
batched GEMM, and no line of the forward mentions tasks.

Batch norm's beta is meta-learned but not adapted (`Network.frozen`): a silent choice of the paper's code, like those in
`layers`.

The network for mini-ImageNet has max-pooling instead of stride 2, and only 32 filters, which the paper says is to reduce
overfitting. The last 5x5 positions are flattened rather than averaged, and the last layer's initial weights are
Glorot-uniform; both are in the paper's code only.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import batch_norm, convolve, glorot, linear, max_pool, neighbourhoods, patches, product
from .modules import ModuleFunction, Weights, point_loss


@dataclass(frozen=True)
class Network:
    """A network as the inner loop uses it; to use your own, define these fields.

    init:     generator -> weights, without the task axis
    forward:  (weights, x [T, B, ...]) -> outputs [T, B] or [T, B, N]; a network with batch norm also accepts seen=n, to
              compute its statistics from the first n points only
    loss:     (outputs, y [T, B]) -> the loss of each point [T, B]
    ways:     N, the number of classes (1 for regression)
    frozen:   names of weights that are meta-learned but not adapted in the inner loop
    """

    init: Callable[[torch.Generator], Weights]
    forward: Callable[..., Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    ways: int = 1
    frozen: frozenset[str] = frozenset()
    layers: tuple[tuple[str, ...], ...] | None = None
    module: ModuleFunction | None = None

    @staticmethod
    def from_module(
        module: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        ways: int = 1,
        *,
        frozen: str | Iterable[str] = (),
        head: str | None = None,
        batch_norm: str | None = None,
    ) -> "Network":
        """Any `nn.Module` as a network: theta starts at the module's weights, under their own names.

        module:      of one task's points, x [B, ...] -> outputs [B, ...]. It is copied and trained with all its parts in
                     training mode, whatever mode they are in: a dropout is off if its rate is 0. Where its code hides
                     whether forward draws random numbers, an attribute says so: draws_random = True
        loss:        `nn.CrossEntropyLoss()`, `F.mse_loss` or your own, which returns the loss of each point [B]
        frozen:      weights, or submodules, that are meta-learned but not adapted. Parameters with requires_grad=False are
                     not trained at all
        head:        the submodule that ANIL adapts alone; by default the last one with weights
        batch_norm:  "batch" replaces running statistics by each batch's own, as in the paper; None refuses them
        Raises ValueError for running statistics, a loss that is not of points, and names that are not in the module.
        """
        function = ModuleFunction(module, batch_norm)
        return Network(
            lambda generator: function.weights(generator.device), function.forward, point_loss(loss), ways,
            frozenset(function.under(frozen, "frozen")), function.layers(head), function,
        )  # fmt: skip

    @property
    def draws_random(self) -> bool:
        """Whether its forward draws random numbers in training, as dropout does."""
        return self.module is not None and self.module.draws_random

    def at_test(self) -> "Network":
        """The network in evaluation mode, where a module has one: without dropout."""
        return self if self.module is None else replace(self, forward=self.module.test_forward)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Equation 3 per point: logits [..., B, N], labels y [..., B] -> [..., B]."""
    return -F.log_softmax(logits, -1).gather(-1, y[..., None]).squeeze(-1)


def squared_error(prediction: Tensor, y: Tensor) -> Tensor:
    """Equation 2 per point: prediction and y [..., B] -> [..., B]."""
    return (prediction - y) ** 2


def sinusoid_network(inputs: int = 1) -> Network:
    """Section 5.1: 1-40-40-1 with ReLU, initial weights from a truncated normal (0.01), no normalization.

    inputs: 1, or 3 for the oracle, which is also given amplitude and phase.
    """
    sizes = (inputs, 40, 40, 1)

    def init(generator: torch.Generator) -> Weights:
        weights = {}
        for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:]), 1):
            weights[f"w{i}"] = _truncated_normal((fan_in, fan_out), generator)
            weights[f"b{i}"] = torch.zeros(fan_out, device=generator.device)
        return weights

    def forward(weights: Weights, x: Tensor) -> Tensor:
        """x [T, B, inputs] -> predictions [T, B]."""
        h = torch.relu(linear(x, weights["w1"], weights["b1"]))
        h = torch.relu(linear(h, weights["w2"], weights["b2"]))
        return linear(h, weights["w3"], weights["b3"]).squeeze(-1)

    return Network(init, forward, squared_error)


def conv_network(ways: int, filters: int = 64, channels: int = 1) -> Network:
    """Section 5.2: four blocks of 3x3 convolution (stride 2), batch norm and ReLU; then global mean and a linear layer.

    channels: of the pictures.
    Convolutions are initialized Glorot-uniform, the linear weight from N(0, 1) as in the code, biases and betas to 0.
    """
    blocks = range(1, 5)

    def init(generator: torch.Generator) -> Weights:
        weights, device = {}, generator.device
        for i, inputs in zip(blocks, (channels, filters, filters, filters)):
            weights[f"conv{i}"] = glorot((3, 3, inputs, filters), 9 * inputs, 9 * filters, generator)
            weights[f"beta{i}"] = torch.zeros(filters, device=device)
        weights["w5"] = torch.randn((filters, ways), generator=generator, device=device)
        weights["b5"] = torch.zeros(ways, device=device)
        return weights

    def forward(weights: Weights, x: Tensor, seen: int | None = None) -> Tensor:
        """x [T, B, C, 28, 28] -> logits [T, B, N]; batch norm's statistics are of the first `seen` pictures, or all."""
        h = x.movedim(2, -1)  # channels last, so that a patch is one row of the matrix product
        for i in blocks:
            h = convolve(patches(h), weights[f"conv{i}"], weights[f"beta{i}"], seen)
        return linear(h.mean((2, 3)), weights["w5"], weights["b5"])

    return Network(init, forward, cross_entropy, ways, frozenset(f"beta{i}" for i in blocks))


def context_network(ways: int, filters: int = 64) -> Network:
    """The context vector of the paper's appendix D.2: free parameters z beside the input, which adapt alone.

    z [28, 28] is a second channel of every picture, and all other weights are meta-learned but frozen. The paper does not
    say how large z is. One number for the channel would do next to nothing: but for the border, where a window reaches into
    the padding, the first batch norm subtracts it again.
    """
    inner = conv_network(ways, filters, channels=2)

    def init(generator: torch.Generator) -> Weights:
        return inner.init(generator) | {"z0": torch.zeros(28, 28, device=generator.device)}

    def forward(weights: Weights, x: Tensor, seen: int | None = None) -> Tensor:
        """x [T, B, 1, 28, 28] -> logits [T, B, N], with z0 [28, 28] or [T, 28, 28] beside every picture."""
        z = weights["z0"][..., None, None, :, :].expand_as(x)
        return inner.forward(weights, torch.cat([x, z], 2), seen)

    frozen = frozenset(init(torch.Generator())) - {"z0"}
    return replace(inner, init=init, forward=forward, frozen=frozen)


def mlp_network(ways: int) -> Network:
    """Section 5.2's network without convolutions: 256-128-64-64 with batch norm and ReLU, then a linear layer."""
    sizes = (28 * 28, 256, 128, 64, 64)
    layers = range(1, 5)

    def init(generator: torch.Generator) -> Weights:
        weights = {}
        for i in layers:
            weights[f"w{i}"] = _truncated_normal((sizes[i - 1], sizes[i]), generator)
            weights[f"beta{i}"] = torch.zeros(sizes[i], device=generator.device)
        weights["w5"] = _truncated_normal((sizes[-1], ways), generator)
        weights["b5"] = torch.zeros(ways, device=generator.device)
        return weights

    def forward(weights: Weights, x: Tensor, seen: int | None = None) -> Tensor:
        """x [T, B, 1, 28, 28] -> logits [T, B, N]; batch norm's statistics are of the first `seen` pictures, or all."""
        h = x.flatten(2)
        for i in layers:
            h = torch.relu(batch_norm(product(h, weights[f"w{i}"]), weights[f"beta{i}"], seen))
        return linear(h, weights["w5"], weights["b5"])

    return Network(init, forward, cross_entropy, ways, frozenset(f"beta{i}" for i in layers))


CHANNELS, SIZE = 3, 84


def image_network(ways: int, filters: int = 32, size: int = SIZE) -> Network:
    """Four blocks of 3x3 convolution, batch norm, ReLU and 2x2 max-pooling, then linear: [T, B, 3, 84, 84] -> [T, B, N]."""
    blocks = range(1, 5)
    side = size // 2 ** len(blocks)  # of the last feature map

    def init(generator: torch.Generator) -> Weights:
        weights, channels = {}, CHANNELS
        for i in blocks:
            weights[f"conv{i}"] = glorot((3, 3, channels, filters), 9 * channels, 9 * filters, generator)
            weights[f"beta{i}"] = torch.zeros(filters, device=generator.device)
            channels = filters
        inputs = side * side * filters
        weights["w5"] = glorot((inputs, ways), inputs, ways, generator)
        weights["b5"] = torch.zeros(ways, device=generator.device)
        return weights

    def forward(weights: Weights, x: Tensor, seen: int | None = None) -> Tensor:
        """x [T, B, 3, H, W] -> logits [T, B, N]; batch norm's statistics are of the first `seen` pictures, or all."""
        h = x.movedim(2, -1)
        for i in blocks:
            h = max_pool(convolve(neighbourhoods(h), weights[f"conv{i}"], weights[f"beta{i}"], seen))
        return linear(h.flatten(2), weights["w5"], weights["b5"])

    return Network(init, forward, cross_entropy, ways, frozenset(f"beta{i}" for i in blocks))


def _truncated_normal(shape: tuple[int, int], generator: torch.Generator, std: float = 0.01) -> Tensor:
    """TensorFlow's truncated normal: no values beyond two standard deviations."""
    w = torch.empty(shape, device=generator.device)
    return torch.nn.init.trunc_normal_(w, std=std, a=-2 * std, b=2 * std, generator=generator)
