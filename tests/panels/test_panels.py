"""Panels: every slider moves the picture, the numbers are right, and what is stored is a picture."""

import ast
import base64
import io
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import maml_core
from maml_core import Learner, MetaTrainer, Network, reference
from maml_core.evaluation import evaluate, scores_by_step
from maml_core.maml import adapt
from maml_core.panels import (
    AlphaPanel,
    DrawingPanel,
    EpisodePanel,
    FamiliesPanel,
    ModulePanel,
    NavigationPanel,
    PlanePanel,
    SinusoidPanel,
)  # fmt: skip
from maml_core.panels import navigation as navigation_panels
from maml_core.panels import quadratics as plane_panels
from maml_core.panels.episode import fewer_ways
from maml_core.panels.your_own.modules import MODULES, build_learner, load_modules, train
from maml_core.recipes import find_recipe
from maml_core.results import load_policy, load_shipped
from maml_core.rl import adapt as adapt_policy
from maml_core.rl import draw_noise, navigation_policy, roll_out
from maml_core.studies import SHIPPED_AS, load_family
from maml_core.tasks import CharacterTasks, SinusoidTasks
from maml_core.tasks.shifted import turn

PACKAGE = Path(maml_core.__file__).parent


def sinusoid_panel(seed: int = 0) -> SinusoidPanel:
    """On the shipped weights."""
    learner = find_recipe("sinusoid-10shot").build_learner()
    return SinusoidPanel(learner, load_shipped("sinusoid-10shot")[0], load_shipped("sinusoid-pretrained")[0], seed)


def episode_panel(images: torch.Tensor, seed: int = 0) -> EpisodePanel:
    """On the shipped weights, with the settings that they were trained with."""
    theta, record = load_shipped("omniglot-5way-1shot")
    return EpisodePanel(record.recipe.build_learner(), theta, images, seed=seed)


def alpha_panel() -> AlphaPanel:
    learner = find_recipe("sinusoid-10shot").build_learner()
    thetas = (load_shipped(name)[0] for name in ("sinusoid-10shot", "sinusoid-pretrained"))
    return AlphaPanel(learner, *thetas, SinusoidTasks(10, queries=20))


def families_panel(images: torch.Tensor, seed: int = 0) -> FamiliesPanel:
    return FamiliesPanel({name: load_family(name)[:2] for name in SHIPPED_AS}, images, seed=seed)


def navigation_panel(seed: int = 0) -> NavigationPanel:
    return NavigationPanel(*(load_policy(name)[0] for name in ("maml-20", "pretrained-20")), seed=seed)


# Another value of every control that has one.
MOVES = {
    SinusoidPanel: {
        "alpha": 0.05, "shots": 4, "steps": 7, "amplitude": 1.3, "phase": 2.1, "new_points": 2,
        "left_half": True,
    },
    PlanePanel: {"alpha": 0.2, "steps": 3, "curvature_1": 0.5, "curvature_2": 2.0, "theta_1": -1.0, "theta_2": 1.0},
    AlphaPanel: {"alpha": 0.05, "steps": 7},
    EpisodePanel: {
        "alpha": 0.01, "shots": 4, "steps": 7, "ways": 3, "swap": True, "sees": "support and one query", "new_task": 2,
    },
    FamiliesPanel: {"shots": 4, "steps": 0, "turned": 45, "stroke": -1, "judged": "support", "new_task": 2},
    DrawingPanel: {"steps": 0, "recorded": 3},
    NavigationPanel: {"goal_x": -0.2, "goal_y": 0.1, "steps": 3, "alpha": 0.3, "new_noise": 2},
    ModulePanel: {
        "module": "transformer", "alpha": 0.05, "shots": 4, "steps": 5, "amplitude": 1.3, "phase": 2.1, "new_points": 2,
    },
}  # fmt: skip


def numbers(text: str) -> list[float]:
    """The numbers in a panel's line, without those in words."""
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


def test_every_slider_moves_the_picture(panel):
    """And back again: the picture depends on the sliders and on nothing else."""
    moves = MOVES[type(panel)]
    assert panel.state().keys() == moves.keys()
    first, first_text = panel.image.value, panel.text.value
    for name, value in moves.items():
        slider = getattr(panel, name)
        before = slider.value
        slider.value = value
        assert slider.value == pytest.approx(value)
        assert panel.image.value != first, name
        slider.value = before
        assert panel.image.value == first and panel.text.value == first_text, name


def test_sinusoid_numbers_are_the_references():
    """Points, wave and errors worked out again: 7 support points, 4 inner steps of 0.02."""
    panel = sinusoid_panel(seed=3)
    panel.shots.value, panel.steps.value, panel.alpha.value = 7, 4, 0.02
    panel.amplitude.value, panel.phase.value = 2.5, 1.2
    all_x = -5 + 10 * torch.rand((1, 20), generator=torch.Generator().manual_seed(3))
    x = all_x[0, :7, None]
    y = 2.5 * torch.sin(x[:, 0] - 1.2)
    grid = torch.linspace(-5, 5, 201)[:, None]
    expected = []
    for name in ("sinusoid-10shot", "sinusoid-pretrained"):
        theta = {key: w.clone().requires_grad_() for key, w in load_shipped(name)[0].items()}
        loss = reference.mean_squared_error(reference.sinusoid_forward)
        for steps in (0, 4):
            phi = reference.adapt(loss, theta, x, y, 0.02, steps)
            curve = reference.sinusoid_forward(phi, grid).detach().numpy()
            expected.append(np.mean((curve - 2.5 * np.sin(grid[:, 0].numpy() - 1.2)) ** 2))
    assert numbers(panel.text.value) == pytest.approx(expected, abs=1.1e-3)
    assert min(abs(a - b) for i, a in enumerate(expected) for b in expected[:i]) > 0.01  # none can pass for another


def test_episode_numbers_are_the_references(images):
    panel = episode_panel(images, seed=2)
    panel.shots.value, panel.steps.value, panel.alpha.value = 2, 2, 0.3
    theta, record = load_shipped("omniglot-5way-1shot")
    task = CharacterTasks(images, ways=5, shots=5, queries=6).sample(1, torch.Generator().manual_seed(2))[0]
    chosen = torch.cat([(task.support_y == label).nonzero()[:2, 0] for label in range(5)])
    x, y = task.support_x[chosen], task.support_y[chosen]
    frozen = frozenset(f"beta{i}" for i in range(1, 5))
    if record.recipe.inner_loss == "mean":
        loss = reference.mean_cross_entropy(reference.conv_forward)
    else:
        loss = reference.sum_over_shots(reference.conv_forward, 5)
    theta = {key: w.clone().requires_grad_() for key, w in theta.items()}
    expected = []
    for steps in (0, 2):
        phi = reference.adapt(loss, theta, x, y, 0.3, steps, frozen)
        predicted = reference.conv_forward(phi, task.query_x).argmax(1)
        expected.append(100 * (predicted == task.query_y).double().mean().item())
    assert numbers(panel.text.value) == pytest.approx(expected, abs=0.051)
    assert expected[1] > expected[0]
    assert "(30 pictures)" in panel.text.value


@pytest.mark.parametrize("panel", ["sinusoid", "episode", "modules"], indirect=True)
def test_no_steps_change_nothing(panel):
    panel.steps.value = 0
    found = numbers(panel.text.value)
    assert len(found) in (2, 4)
    assert found[0::2] == found[1::2]


def test_stored_output_is_a_picture_a_text_and_a_widget(panel):
    """GitHub shows the picture, JupyterLab the widget; the picture is that of the present state."""
    before = panel._repr_mimebundle_()["image/png"]
    panel.steps.value = panel.steps.min if panel.steps.value > panel.steps.min else panel.steps.max
    bundle = panel._repr_mimebundle_()
    assert bundle["image/png"] != before
    png = base64.b64decode(bundle["image/png"])
    assert png == panel.image.value
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        heights = {SinusoidPanel: 480, PlanePanel: 630, AlphaPanel: 510, EpisodePanel: 435, FamiliesPanel: 435,
                   DrawingPanel: 420, NavigationPanel: 555, ModulePanel: 480}  # fmt: skip
        assert image.size == (1200, heights[type(panel)])
        assert len(image.convert("RGB").getcolors(1 << 24)) > 10  # not blank
    assert 0 < len(bundle["text/plain"]) < 100 and "\n" not in bundle["text/plain"]
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id


def test_panels_do_not_influence_each_other(images):
    panels = [sinusoid_panel(), sinusoid_panel(), episode_panel(images)]
    before = [(panel.image.value, panel.text.value) for panel in panels]
    assert before[0] == before[1]
    panels[0].steps.value, panels[0].alpha.value = 6, 0.03
    assert (panels[0].image.value, panels[0].text.value) != before[0]
    for panel, was in zip(panels[1:], before[1:]):
        panel.redraw()
        assert (panel.image.value, panel.text.value) == was


def test_the_planes_bars_are_as_long_as_they_say():
    """Also where they differ by a lot; what is longer than the axis carries a mark."""
    panel, cut = PlanePanel(), []
    for steps in (1, 2, 5):
        panel.steps.value = steps
        found, _ = panel.directions()
        for bar, text, direction in zip(panel._bars, panel._ratios, found.values()):
            ratio = (direction.norm() / found["MAML"].norm()).item()
            assert bar.get_width() == pytest.approx(min(ratio, plane_panels.LONGEST), rel=1e-4)
            assert text.get_text().endswith(f"{ratio:.2f}" if ratio < 100 else "> 100")
            assert ("▸" in text.get_text()) == (ratio > plane_panels.LONGEST)
            cut.append(ratio > plane_panels.LONGEST)
    assert not any(cut[:3]) and any(cut)  # as the panel opens, all fit


def test_pictures_stand_beside_their_labels(images):
    """The rows of all sheets of a task are at the same places, to a pixel."""
    for panel in (episode_panel(images), families_panel(images)):
        first, *others = (sheet.axes.get_window_extent() for sheet in panel._sheets)
        for sheet in others:
            assert (sheet.y0, sheet.y1) == pytest.approx((first.y0, first.y1), abs=1)


def test_seed_decides_the_points():
    assert sinusoid_panel(0).text.value != sinusoid_panel(1).text.value


def test_matplotlibs_settings_and_the_global_generator_are_left_alone(panel):
    settings, state = dict(matplotlib.rcParams), torch.get_rng_state()
    panel.steps.value += 1
    assert dict(matplotlib.rcParams) == settings
    assert torch.equal(torch.get_rng_state(), state)


def test_families_numbers_are_each_learners_own(images):
    """Two shots, turned by 30 degrees, judged by the support set's statistics: the same task through `evaluate`'s parts."""
    panel = families_panel(images, seed=4)
    panel.shots.value, panel.turned.value, panel.steps.value, panel.judged.value = 2, 30, 3, "support"
    task = CharacterTasks(images, ways=5, shots=5, queries=3).sample(1, torch.Generator().manual_seed(4))
    chosen = torch.tensor([5 * label + i for label in range(5) for i in range(2)])
    seen = replace(task, support_x=turn(task.support_x[:, chosen], 30), support_y=task.support_y[:, chosen],
                   query_x=turn(task.query_x, 30))  # fmt: skip
    expected = []
    for name in SHIPPED_AS:
        learner, theta, recipe = load_family(name)
        steps = recipe.test_steps[-1]
        expected.append(100 * scores_by_step(learner, theta, seen, [steps], "support")[steps].item())
    assert numbers(panel.text.value) == pytest.approx(expected, abs=0.051)
    assert list(SHIPPED_AS) == re.findall("MAML|prototypes|matching|memory", panel.text.value)


def test_learners_beside_each_other_have_the_same_ways(images):
    learners = {name: (find_recipe(name).build_learner(), {}) for name in ("omniglot-5way-1shot", "omniglot-20way-1shot")}
    with pytest.raises(ValueError, match="must have the same number of ways"):
        FamiliesPanel(learners, images)


def test_more_shots_keep_the_points(images):
    """The first K points stay where they are, so that moving K shows what more points do."""
    panel = episode_panel(images)
    few = panel.episode().support_x
    panel.shots.value = 3
    more, labels = panel.episode().support_x, panel.episode().support_y
    assert torch.equal(more.unflatten(1, (5, 3))[:, :, 0], few)
    assert labels[0].tolist() == [label for label in range(5) for _ in range(3)]


@pytest.mark.parametrize("faster, small, large", [("onednn", "highest", "medium"), ("mkl", "highest", "highest")])
def test_only_the_conv_nets_panels_use_the_faster_library(images, monkeypatch, faster, small, large):
    """Small products are slower in oneDNN, which takes longer to begin one."""
    monkeypatch.setattr("maml_core.panels.base.choose_backend", lambda: faster)
    for panel, setting in ((navigation_panel(), small), (episode_panel(images), large)):
        seen = []
        monkeypatch.setattr(panel, "update", lambda seen=seen: seen.append(torch.get_float32_matmul_precision()) or "")
        panel.redraw()
        assert seen == [setting]


def test_two_threads_draw_one_picture_at_a_time():
    """As JupyterLab moves sliders: messages of two widgets may arrive in two threads at once."""
    inside, most = 0, 0

    class Slow(PlanePanel):
        def update(self) -> str:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            told = super().update()
            inside -= 1
            return told

    def move(slider: widgets.FloatSlider) -> None:
        for _ in range(5):
            slider.value -= slider.step

    panel = Slow()
    threads = [threading.Thread(target=move, args=[slider]) for slider in (panel.alpha, panel.curvature_1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = PlanePanel()
    expected.alpha.value, expected.curvature_1.value = panel.alpha.value, panel.curvature_1.value
    assert most == 1 and panel.image.value == expected.image.value and panel.text.value == expected.text.value


@pytest.mark.parametrize("change", ["rebound", "in place"])
def test_later_changes_to_theta_do_not_reach_the_panel(change):
    """As a notebook may do after the panel's cell, and as a trainer does to its own theta."""
    theta, learner = load_shipped("sinusoid-10shot")[0], find_recipe("sinusoid-10shot").build_learner()
    panel = SinusoidPanel(learner, theta, load_shipped("sinusoid-pretrained")[0])
    before = panel.text.value
    if change == "rebound":
        theta["b3"] = theta["b3"] + 1
    else:
        theta["b3"].add_(1)
    panel.redraw()
    assert panel.text.value == before


def test_new_points_and_new_tasks(images):
    for panel, button in ((sinusoid_panel(), "new_points"), (episode_panel(images), "new_task"),
                          (families_panel(images), "new_task"), (navigation_panel(), "new_noise"),
                          (ModulePanel(load_modules()), "new_points")):  # fmt: skip
        pictures = [panel.image.value]
        for _ in range(3):
            getattr(panel, button).click()
            pictures.append(panel.image.value)
        assert len(set(pictures)) == 4
        panel.redraw()
        assert panel.image.value == pictures[-1]


def test_left_half_has_no_points_on_the_right():
    panel = sinusoid_panel()
    assert panel.points()[0].max() > 0
    panel.left_half.value = True
    assert panel.points()[0].max() < 0 and panel.points()[0].shape == (1, 10, 1)


def test_a_moved_panel_is_the_panel_that_starts_there():
    """Nothing of what was drawn before shines through."""
    moved, fresh = sinusoid_panel(), sinusoid_panel()
    for value in (0, 5, 10, 2):
        moved.steps.value = value
    fresh.steps.value = 2
    assert moved.image.value == fresh.image.value


def test_plane_directions_are_the_closed_forms():
    """For quadratic losses: MAML (I - aH)^k H (phi - best), first order H (phi - best), Reptile (theta - phi)/(ak)."""
    panel = PlanePanel()
    panel.steps.value, panel.alpha.value = 2, 0.3
    found, path = panel.directions()
    theta = torch.tensor([panel.theta_1.value, panel.theta_2.value], dtype=torch.float64)
    expected = {name: torch.zeros(2, dtype=torch.float64) for name in found}
    for i, curvature in enumerate((panel.curvature_1.value, panel.curvature_2.value)):
        angle = plane_panels.ANGLES[i].double()
        turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()]).view(2, 2)
        hessian = turn.T @ torch.diag(torch.tensor([1.0, 0.3], dtype=torch.float64) * curvature) @ turn
        optimum, phi = plane_panels.OPTIMA[i].double(), theta
        shrink = torch.eye(2, dtype=torch.float64) - 0.3 * hessian
        for _ in range(2):
            phi = phi - 0.3 * hessian @ (phi - optimum)
        torch.testing.assert_close(path[-1, i].double(), phi, rtol=1e-5, atol=1e-5)
        gradient = hessian @ (phi - optimum)
        expected["MAML"] -= shrink @ shrink @ gradient / 2
        expected["first order"] -= gradient / 2
        expected["Reptile"] -= (theta - phi) / (2 * 0.3) / 2
    for name, direction in found.items():
        torch.testing.assert_close(direction.double(), expected[name], rtol=1e-4, atol=1e-5)


def test_flat_tasks_make_the_arrows_fall_together():
    panel = PlanePanel()

    def cosines() -> list[float]:
        found, _ = panel.directions()
        return [torch.cosine_similarity(found[name], found["MAML"], dim=0).item() for name in ("first order", "Reptile")]

    assert max(cosines()) < 0.95
    panel.curvature_1.value = panel.curvature_2.value = 0.02
    assert min(cosines()) > 0.999


def test_alpha_panel_shows_what_evaluate_measures(monkeypatch):
    monkeypatch.setattr(AlphaPanel, "POINTS", 7)
    panel = alpha_panel()
    learner, theta = find_recipe("sinusoid-10shot").build_learner(), load_shipped("sinusoid-10shot")[0]
    scores = evaluate(learner, theta, SinusoidTasks(10, queries=20), [3], torch.Generator().manual_seed(0), 100, 100)
    assert panel.error("maml", 0.01, 3) == pytest.approx(scores[3].double().mean().item(), rel=1e-5)
    assert panel.error("maml", 0.1, 10) > 10 > panel.error("maml", 0.01, 10)
    panel.steps.value, panel.alpha.value = 10, 0.1
    assert "diverged" in panel.text.value or panel.error("maml", 0.1, 10) < 1000


def test_fewer_ways_look_at_fewer_outputs(images):
    panel = episode_panel(images)
    panel.ways.value, panel.shots.value = 3, 2
    episode = panel.episode()
    assert episode.support_x.shape == (1, 6, 1, 28, 28) and set(episode.query_y[0].tolist()) == {0, 1, 2}
    network = fewer_ways(panel._learner.network, 3)
    assert network.ways == 3
    phi = adapt(replace(panel._learner, network=network), panel._theta, episode.support_x, episode.support_y)
    whole = panel._learner.network.forward(phi, episode.query_x)
    assert torch.equal(network.forward(phi, episode.query_x), whole[..., :3])


def test_swapping_adapts_on_the_query_pictures(images):
    panel = episode_panel(images)
    before = panel.episode()
    panel.swap.value = True
    after = panel.episode()
    assert torch.equal(after.support_x.unflatten(1, (5, 1))[:, :, 0], before.query_x.unflatten(1, (5, 6))[:, :, 0])
    assert after.query_x.shape[1] == 25 and before.query_x.shape[1] == 30


def test_navigation_numbers_are_a_plain_adaptation():
    """Each policy by itself on the panel's noise: the returns after 0, 1 and 2 steps."""
    panel = navigation_panel(seed=4)
    panel.goal_x.value, panel.goal_y.value, panel.alpha.value, panel.steps.value = -0.3, 0.2, 0.2, 2
    generator, policy, expected = torch.Generator().manual_seed(4), navigation_policy(), []
    noises = [draw_noise(1, 20, generator) for _ in range(4)][:3]
    for name in ("maml-20", "pretrained-20"):
        phi = {key: w[None] for key, w in load_policy(name)[0].items()}
        seen, _ = adapt_policy(policy, phi, torch.tensor([[-0.3, 0.2]]), noises, [0.2, 0.1])
        expected += [abs(trajectories.returns().mean().item()) for trajectories in seen]
    assert numbers(panel.text.value) == pytest.approx(expected, rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("name", MODULES)
def test_module_numbers_are_a_plain_loop_over_the_module_itself(name):
    """The shipped state dict in a module of its class, adapted without maml_core: 4 steps of 0.015 on 8 points."""
    panel = ModulePanel(load_modules(), seed=5)
    panel.module.value, panel.shots.value, panel.steps.value, panel.alpha.value = name, 8, 4, 0.015
    panel.amplitude.value, panel.phase.value = 3.5, 0.8
    module = MODULES[name]()
    module.load_state_dict(torch.load(PACKAGE / "trained" / "modules" / f"{name.lower().replace(' ', '-')}.pt"))
    x = (-5 + 10 * torch.rand((1, 20), generator=torch.Generator().manual_seed(5)))[0, :8, None]
    grid, expected = torch.linspace(-5, 5, 201)[:, None], []
    for steps in range(5):
        expected.append(((module(grid) - 3.5 * torch.sin(grid[:, 0] - 0.8)) ** 2).mean().item())
        if steps < 4:
            loss = ((module(x) - 3.5 * torch.sin(x[:, 0] - 0.8)) ** 2).mean()
            for p, g in zip(module.parameters(), torch.autograd.grad(loss, list(module.parameters()))):
                p.data -= 0.015 * g
    assert numbers(panel.text.value) == pytest.approx([expected[0], expected[4]], rel=2e-3, abs=1.1e-3)
    assert panel._lines["errors"].get_ydata() == pytest.approx(expected, rel=2e-3)
    assert expected[4] < 0.5 * expected[0]


def test_shipped_modules_learn_a_wave_in_one_step():
    for name, (learner, theta) in load_modules().items():
        scores = evaluate(learner, theta, SinusoidTasks(10, queries=50), [0, 1], torch.Generator().manual_seed(0), 100)
        assert scores[1].mean() < 0.6 < 2 < scores[0].mean(), name


def test_training_a_module_again_repeats_and_learns():
    """From fresh weights that are always the same, whatever has been drawn before."""
    losses = []
    for _ in range(2):
        torch.rand(3)
        learner = build_learner("MLP")
        losses.append(MetaTrainer(learner, SinusoidTasks(10), torch.Generator().manual_seed(0), 4).run(2))
    assert torch.equal(*losses)
    assert train("MLP", 60).run(5).mean() < 0.7 * losses[0].mean()


def test_a_module_of_ones_own_is_shown_without_dropout():
    own = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1), nn.Flatten(0))
    learner = Learner(Network.from_module(own, nn.MSELoss()), alpha=0.01)
    panel = ModulePanel({"yours": (learner, learner.network.init(torch.Generator())), **load_modules()})
    before = panel.text.value
    assert panel.module.value == "yours" and before.startswith("yours (25 weights)")
    panel.new_points.click()
    panel.new_points.value = 0
    assert panel.text.value == before


def test_errors_that_exploded_are_called_diverged():
    panel = ModulePanel(load_modules())
    panel.module.value, panel.alpha.value, panel.steps.value = "transformer", 0.1, 6
    assert panel.text.value.endswith("diverged")


def test_navigation_keeps_the_steps_that_were_taken(monkeypatch):
    """More steps on the same goal go on from the last one, fewer ask for nothing; another goal only changes the rewards
    before the first step."""
    panel, acted = navigation_panel(), []
    monkeypatch.setattr(navigation_panels, "roll_out", lambda *arguments: acted.append(1) or roll_out(*arguments))
    panel.steps.value = 3
    assert len(acted) == 2
    panel.steps.value = 0
    assert len(acted) == 2
    panel.steps.value = 1
    panel.alpha.value = 0.2
    assert len(acted) == 3
    panel.goal_x.value = 0.1
    assert len(acted) == 4


# What importing the package brings along, and which way imports go.

ORDER = [
    "util", "episodes", "layers", "modules", "networks", "maml", "reference", "second_order", "meta_update", "tasks",
    "learners", "recipes", "engine", "evaluation", "training", "fine_tuning", "results", "rl", "studies", "docs", "figures",
    "panels", "live", "cli", "__main__",
]  # fmt: skip


def test_core_imports_nothing_of_the_notebooks():
    """In a fresh Python: the core needs nothing beyond the package's own dependencies."""
    program = """
import sys, torch, numpy
already = set(sys.modules)
import maml_core, maml_core.training, maml_core.evaluation, maml_core.recipes, maml_core.results, maml_core.second_order
print(*sorted({name.partition('.')[0] for name in set(sys.modules) - already}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    brought = set(done.stdout.split())
    assert "maml_core" in brought
    assert not brought & {"matplotlib", "ipywidgets", "torchvision", "PIL", "IPython"}


def imports_of(file: Path) -> set[str]:
    """The package's modules that a file imports, those inside functions included."""
    depth = len(file.relative_to(PACKAGE).parts)  # dots that lead to the package itself
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = [] if node.level == 0 else ["maml_core", *file.relative_to(PACKAGE).parts[: depth - node.level]]
            base = package + (node.module.split(".") if node.module else [])
            # `from . import checkpoints` names the module last, `from .maml import adapt` before.
            dotted = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in dotted if name.startswith("maml_core.")}
    return found & set(ORDER)


def test_every_module_has_its_place_in_the_order():
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_one_way(module):
    """A module imports only from its left (the package `figures` counts as one module)."""
    files = sorted((PACKAGE / module).rglob("*.py")) or [PACKAGE / f"{module}.py"]
    right = set(ORDER[ORDER.index(module) + 1 :])
    for file in files:
        assert not imports_of(file) & right, file.name


def test_the_search_for_imports_finds_them():
    """Otherwise the test above could pass on nothing."""
    assert {"maml", "networks", "rl", "second_order"} == imports_of(PACKAGE / "rl" / "trpo.py")
    assert {"engine", "recipes", "util"} <= imports_of(PACKAGE / "training" / "loop.py")
    assert {"figures", "results", "studies", "tasks"} <= imports_of(PACKAGE / "figures" / "reported" / "families.py")
    assert imports_of(PACKAGE / "figures" / "quadratics.py") == {"episodes", "figures", "maml", "tasks"}
