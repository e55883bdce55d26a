"""Networks: TensorFlow's padding by hand, batch norm, initial weights, shared and stacked weights."""

import pytest
import torch

from maml_core import networks, reference
from maml_core.layers import batch_norm, patches, same_padding
from maml_core.networks import cross_entropy


def convolve_by_hand(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """3x3, stride 2, SAME, one output pixel at a time, from TensorFlow's definition: x [B, H, W, C], w [3, 3, C, F].

    Output pixel (i, j) looks at input rows 2i - top .. 2i - top + 2, where top = (total padding) // 2 and the
    total is max((ceil(H / 2) - 1) * 2 + 3 - H, 0); pixels outside the picture are 0.
    """
    B, H, W, _ = x.shape
    rows, columns = -(-H // 2), -(-W // 2)
    top, left = max((rows - 1) * 2 + 3 - H, 0) // 2, max((columns - 1) * 2 + 3 - W, 0) // 2
    out = torch.zeros(B, rows, columns, w.shape[-1], dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            for di in range(3):
                for dj in range(3):
                    row, column = 2 * i - top + di, 2 * j - left + dj
                    if 0 <= row < H and 0 <= column < W:
                        out[:, i, j] += x[:, row, column] @ w[di, dj]
    return out


@pytest.mark.parametrize("size", [28, 14, 7, 4, 5, (6, 9)])
def test_convolution_pads_as_tensorflow_does(size, generator):
    height, width = (size, size) if isinstance(size, int) else size
    x = torch.randn(2, height, width, 3, generator=generator, dtype=torch.float64)
    w = torch.randn(3, 3, 3, 4, generator=generator, dtype=torch.float64)
    ours = patches(x[None])[0] @ w.flatten(0, 2)
    torch.testing.assert_close(ours, convolve_by_hand(x, w), rtol=1e-12, atol=1e-12)


def test_same_padding_of_the_papers_sizes():
    assert [same_padding(size) for size in (28, 14, 7, 4)] == [(0, 1), (0, 1), (1, 1), (0, 1)]


def test_whole_conv_network_against_the_definition(generator):
    """All four blocks by hand, with batch norm from its formula, for one task in float64."""
    network = networks.conv_network(3, filters=4)
    weights = {name: w.double() for name, w in network.init(generator).items()}
    weights |= {name: torch.randn_like(w) for name, w in weights.items() if name.startswith("b")}
    x = torch.rand(6, 1, 28, 28, generator=generator, dtype=torch.float64)
    h = x.permute(0, 2, 3, 1)
    for i in range(1, 5):
        z = convolve_by_hand(h, weights[f"conv{i}"]).flatten(0, 2)
        z = (z - z.mean(0)) / torch.sqrt(z.var(0, correction=0) + 1e-3) + weights[f"beta{i}"]
        h = z.clamp(min=0).reshape(6, -(-h.shape[1] // 2), -(-h.shape[2] // 2), 4)
    expected = h.mean((1, 2)) @ weights["w5"] + weights["b5"]
    torch.testing.assert_close(network.forward(weights, x[None])[0], expected, rtol=1e-10, atol=1e-10)


def test_batch_norm_normalizes_each_task_separately(generator):
    z = torch.randn(3, 50, 4, generator=generator) * torch.tensor([1.0, 10.0, 100.0])[:, None, None]
    out = batch_norm(z, torch.zeros(4))
    torch.testing.assert_close(out.mean(1), torch.zeros(3, 4), atol=1e-5, rtol=0)
    alone = torch.cat([batch_norm(z[i : i + 1], torch.zeros(4)) for i in range(3)])
    torch.testing.assert_close(out, alone)
    with torch.no_grad():  # the fused kernel
        fused = torch.cat([batch_norm(z[i : i + 1], torch.arange(4.0)) for i in range(3)])
    torch.testing.assert_close(fused, out + torch.arange(4.0))


def test_batch_norm_of_the_points_that_were_seen(generator):
    z = 100 + torch.randn(2, 50, 4, generator=generator, dtype=torch.float64)
    beta = torch.arange(4.0, dtype=torch.float64)
    out = batch_norm(z, beta, seen=30)
    expected = (z - z[:, :30].mean(1, keepdim=True)) / (z[:, :30].var(1, correction=0, keepdim=True) + 1e-3).sqrt() + beta
    torch.testing.assert_close(out, expected)
    with torch.no_grad():  # the fused kernel
        fused = torch.cat([batch_norm(z[i : i + 1], beta, seen=30) for i in range(2)])
    torch.testing.assert_close(fused, expected)


@pytest.mark.parametrize(
    "network, shape",
    [
        (networks.sinusoid_network(), (1,)),
        (networks.conv_network(5), (1, 28, 28)),
        (networks.mlp_network(5), (1, 28, 28)),
    ],
    ids=["sinusoid", "conv", "mlp"],
)
def test_stacked_weights_equal_shared_weights(network, shape, generator):
    """All weights but the frozen ones have a leading task axis, and differ between tasks."""
    x = torch.rand(3, 7, *shape, generator=generator)
    each = [network.init(generator) for _ in range(3)]
    each = [w | {name: each[0][name] for name in network.frozen} for w in each]
    stacked = {name: each[0][name] if name in network.frozen else torch.stack([w[name] for w in each]) for name in each[0]}
    alone = torch.cat([network.forward(w, x[i : i + 1]) for i, w in enumerate(each)])
    torch.testing.assert_close(network.forward(stacked, x), alone)


def test_sizes_match_the_paper():
    def count(network: networks.Network) -> int:
        return sum(w.numel() for w in network.init(torch.Generator().manual_seed(0)).values())

    assert count(networks.sinusoid_network()) == (1 * 40 + 40) + (40 * 40 + 40) + (40 + 1)
    assert count(networks.conv_network(5)) == 9 * 64 + 3 * 9 * 64 * 64 + 4 * 64 + 64 * 5 + 5
    weights = 784 * 256 + 256 * 128 + 128 * 64 + 64 * 64 + 64 * 5
    assert count(networks.mlp_network(5)) == weights + (256 + 128 + 64 + 64) + 5


def test_initial_weights_match_the_papers_code(generator):
    conv = networks.conv_network(5).init(generator)
    bound = (6 / (9 * 64 + 9 * 64)) ** 0.5  # Glorot uniform
    assert conv["conv2"].abs().max() <= bound and abs(conv["conv2"].std() - bound / 3**0.5) < 0.02 * bound
    assert abs(conv["w5"].std() - 1) < 0.15 and not conv["b5"].any() and not conv["beta3"].any()
    mlp = networks.mlp_network(5).init(generator)
    assert mlp["w1"].abs().max() <= 0.02 and 0.0085 < mlp["w1"].std() < 0.0091  # cut at 2 sd: 0.88 of 0.01


def test_cross_entropy_against_torch(generator):
    logits, y = torch.randn(3, 4, 5, generator=generator), torch.randint(5, (3, 4), generator=generator)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    torch.testing.assert_close(cross_entropy(logits, y).flatten(), expected)


def test_second_derivatives_of_batch_norm(generator):
    """Under vmap, ours has the same second derivatives as PyTorch's `F.batch_norm` task by task."""
    x = torch.randn(3, 8, 2, generator=generator, dtype=torch.float64)
    w = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)

    def second_derivative(w, x):
        def loss(w):
            return (batch_norm((x @ w)[None], torch.zeros(2, dtype=w.dtype)) ** 3).sum()

        return torch.func.grad(lambda w: (torch.func.grad(loss)(w) ** 2).sum())(w)

    def plain(w, x):
        w = w.clone().requires_grad_()
        z = torch.nn.functional.batch_norm(x @ w, None, None, training=True, eps=1e-3)
        (gradient,) = torch.autograd.grad((z**3).sum(), w, create_graph=True)
        return torch.autograd.grad((gradient**2).sum(), w)[0]

    ours = torch.func.vmap(second_derivative)(w, x)
    torch.testing.assert_close(ours, torch.stack([plain(w[i], x[i]) for i in range(3)]), rtol=1e-9, atol=1e-9)


def test_reference_networks_agree_with_the_task_axis(characters, generator):
    x = characters.images[:3, :4, None].float() / 255
    for network, forward in (
        (networks.conv_network(5), reference.conv_forward),
        (networks.mlp_network(5), reference.mlp_forward),
    ):
        weights = network.init(generator)
        ours = network.forward(weights, x)
        torch.testing.assert_close(ours, torch.stack([forward(weights, task) for task in x]), rtol=1e-4, atol=1e-4)
