"""Panels: every slider moves the picture, the numbers are right, and what is stored is a picture."""

import ast
import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

import maml_core
from maml_core import reference
from maml_core.characters import CharacterTasks
from maml_core.panels import EpisodePanel, SinusoidPanel
from maml_core.recipes import Recipe, find_recipe
from maml_core.results import load_shipped

PACKAGE = Path(maml_core.__file__).parent


@pytest.fixture(scope="module")
def images(characters) -> torch.Tensor:
    return characters.split("test").images


def sinusoid_panel(seed: int = 0) -> SinusoidPanel:
    """On the shipped weights."""
    learner = find_recipe("sinusoid-10shot").build_learner()
    return SinusoidPanel(learner, load_shipped("sinusoid-10shot")[0], load_shipped("sinusoid-pretrained")[0], seed)


def episode_panel(images: torch.Tensor, seed: int = 0) -> EpisodePanel:
    """On the shipped weights, with the settings that they were trained with."""
    theta, story = load_shipped("omniglot-5way-1shot")
    return EpisodePanel(Recipe(**story["recipe"]).build_learner(), theta, images, seed=seed)


@pytest.fixture(params=["sinusoid", "episode"])
def panel(request, images):
    return sinusoid_panel() if request.param == "sinusoid" else episode_panel(images)


def numbers(text: str) -> list[float]:
    """The numbers in a panel's line, without those in words."""
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


def test_every_slider_moves_the_picture(panel):
    """And back again: the picture depends on the sliders and on nothing else."""
    moves = {"alpha": 0.01 if isinstance(panel, EpisodePanel) else 0.05, "shots": 4, "steps": 7}
    if isinstance(panel, SinusoidPanel):
        moves |= {"amplitude": 1.3, "phase": 2.1}
    assert len(panel.children[0].children) == len(moves)
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
    theta, story = load_shipped("omniglot-5way-1shot")
    task = CharacterTasks(images, ways=5, shots=5, queries=6).sample(1, torch.Generator().manual_seed(2))[0]
    chosen = torch.cat([(task.support_y == label).nonzero()[:2, 0] for label in range(5)])
    x, y = task.support_x[chosen], task.support_y[chosen]
    frozen = frozenset(f"beta{i}" for i in range(1, 5))
    if story["recipe"]["inner_loss"] == "mean":
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


def test_no_steps_change_nothing(panel):
    panel.steps.value = 0
    found = numbers(panel.text.value)
    assert len(found) in (2, 4)
    assert found[0::2] == found[1::2]


def test_stored_output_is_a_picture_a_text_and_a_widget(panel):
    """GitHub shows the picture, JupyterLab the widget; the picture is that of the present state."""
    before = panel._repr_mimebundle_()["image/png"]
    panel.steps.value += 1
    bundle = panel._repr_mimebundle_()
    assert bundle["image/png"] != before
    png = base64.b64decode(bundle["image/png"])
    assert png == panel.image.value
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert image.size == ((800, 320) if isinstance(panel, SinusoidPanel) else (800, 270))
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


def test_seed_decides_the_points():
    assert sinusoid_panel(0).text.value != sinusoid_panel(1).text.value


def test_matplotlibs_settings_and_the_global_generator_are_left_alone(panel):
    settings, state = dict(matplotlib.rcParams), torch.get_rng_state()
    panel.steps.value += 1
    assert dict(matplotlib.rcParams) == settings
    assert torch.equal(torch.get_rng_state(), state)


def test_more_shots_keep_the_points(images):
    """The first K points stay where they are, so that moving K shows what more points do."""
    panel = episode_panel(images)
    few, _ = panel._support()
    panel.shots.value = 3
    more, labels = panel._support()
    assert torch.equal(more.unflatten(1, (5, 3))[:, :, 0], few)
    assert labels[0].tolist() == [label for label in range(5) for _ in range(3)]


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


# What importing the package brings along, and which way imports go.

ORDER = (
    "files progress episodes sinusoid omniglot glyphs characters networks transduction maml plane reference hvp recipes "
    "adam precision shards rewrite compiling engine choices evaluation checkpoints training results sweeps studies "
    "literature tables figures panels __main__"
).split()


def test_core_imports_nothing_of_the_notebooks():
    """In a fresh Python: torch and numpy are all that the core needs (torch itself may bring tqdm)."""
    program = """
import sys, torch, numpy
already = set(sys.modules)
import maml_core, maml_core.training, maml_core.evaluation, maml_core.recipes, maml_core.results, maml_core.hvp
print(*sorted({name.partition('.')[0] for name in set(sys.modules) - already}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    brought = set(done.stdout.split())
    assert "maml_core" in brought
    assert not brought & {"matplotlib", "ipywidgets", "torchvision", "tqdm", "PIL", "IPython"}


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
    files = sorted((PACKAGE / module).glob("*.py")) or [PACKAGE / f"{module}.py"]
    right = set(ORDER[ORDER.index(module) + 1 :])
    for file in files:
        assert not imports_of(file) & right, file.name


def test_the_search_for_imports_finds_them():
    """Otherwise the test above could pass on nothing."""
    assert {"checkpoints", "maml", "recipes"} <= imports_of(PACKAGE / "training.py")
    assert {"plane", "results", "characters"} <= imports_of(PACKAGE / "figures" / "__main__.py")
    assert imports_of(PACKAGE / "figures" / "plane.py") == {"episodes", "figures"}
