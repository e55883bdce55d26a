"""docs/coming-from.md: our code on the page runs as written and trains as the others' loops do, whose code is valid."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

PAGE = Path(__file__).parent.parent / "docs" / "coming-from.md"
CODE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
PEERS = ("learn2learn", "higher", "torchopt")
THEIRS = {peer: code for peer in PEERS for code in CODE if f"import {peer}" in code}
SETUP, OURS, TAKEN_AWAY = (code for code in CODE if code not in THEIRS.values())


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> dict:
    """The names that our blocks define, run one after the other in an empty folder."""
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for code in (SETUP, OURS):
            exec(code, names)
        names["theta"] = {name: w.clone() for name, w in names["net"].state_dict().items()}
        exec(TAKEN_AWAY, names)
    return names


@pytest.mark.parametrize("peer", PEERS)
def test_the_other_libraries_code_is_valid_python(peer):
    compile(THEIRS[peer], peer, "exec")


def test_ours_learns(page):
    assert page["losses"].shape == (300,) and page["losses"][-50:].mean() < 0.8 * page["losses"][:50].mean()


def test_the_result_is_a_module_of_its_own_class_that_fits_the_task(page):
    adapted, net = page["adapted"], page["net"]
    assert type(adapted) is nn.Sequential and not adapted.training and page["prediction"].shape == (10, 1)
    of_wave = page["support_x"], page["support_y"]
    before, after = (nn.functional.mse_loss(module(of_wave[0]), of_wave[1]) for module in (net, adapted))
    assert after < before


def test_training_leaves_the_module_alone_until_the_weights_are_loaded(page):
    fresh: dict = {}
    exec(SETUP, fresh)
    for name, w in fresh["net"].state_dict().items():
        assert torch.equal(page["theta"][name], w)
        assert torch.equal(page["net"].state_dict()[name], page["trainer"].theta[name])


def test_ours_ends_where_the_loop_over_tasks_ends():
    """The loop that the page writes with three libraries, here with torch alone."""
    iterations, fresh, names = 5, {}, {}
    exec(SETUP, fresh)
    net, draw, generator = fresh["net"], fresh["draw"], fresh["generator"]
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(iterations):
        adam.zero_grad()
        for support_x, support_y, query_x, query_y in zip(*draw(25, generator)):
            theta = dict(net.named_parameters())
            loss = nn.functional.mse_loss(net(support_x), support_y)
            gradient = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
            phi = {name: w - 0.01 * g for (name, w), g in zip(theta.items(), gradient)}
            (nn.functional.mse_loss(functional_call(net, phi, query_x), query_y) / 25).backward()
        adam.step()
    exec(SETUP, names)
    exec(OURS.replace("run(300)", f"run({iterations})"), names)
    for name, w in net.named_parameters():
        torch.testing.assert_close(names["trainer"].theta[name], w.detach(), rtol=1e-5, atol=1e-6)
