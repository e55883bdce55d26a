"""The convolution that the compiler gets computes what nn.Conv2d computes."""

import pytest
import torch
from torch import nn

from maml_core.modules.prepare import Convolution

SHAPES = [
    ((2, 3, 9, 7), dict(kernel_size=3, padding=1)),
    ((4, 1, 28, 28), dict(kernel_size=3, stride=2, bias=False)),
    ((3, 2, 10, 5), dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0))),
    ((2, 3, 8, 8), dict(kernel_size=2, stride=3)),
    ((5, 4, 6, 6), dict(kernel_size=1, stride=2)),
    ((3, 9, 9), dict(kernel_size=3, padding=1)),  # a single picture, which nn.Conv2d takes, too
]


@pytest.mark.parametrize(("shape", "options"), SHAPES)
def test_im2col_matches_torchs_convolution(shape, options, generator, monkeypatch):
    """A kernel for each of three tasks; the outputs, and the gradient of a gradient's norm by every input."""
    x = torch.randn(3, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
    plain, ours = (nn.Conv2d(shape[-3], 4, **options).double() for _ in range(2))
    ours.__class__ = Convolution
    weights = {
        name: torch.randn(3, *w.shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for name, w in plain.named_parameters()
    }
    found = []
    for module, compiling in ((plain, False), (ours, True)):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda answer=compiling: answer)
        outputs = torch.vmap(lambda w, x, module=module: torch.func.functional_call(module, w, (x,)))(weights, x)
        inputs = [x, *weights.values()]
        first = torch.autograd.grad((outputs**3).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first), inputs)
        found.append((outputs, *first, *second))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)
