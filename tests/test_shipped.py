"""What the package ships: weights, their stories, and the numbers that the README prints of them."""

import re
from pathlib import Path

import pytest
import torch

from maml_core import checkpoints
from maml_core.characters import Characters
from maml_core.recipes import RECIPES, Recipe
from maml_core.literature import PAPER_ACCURACY, PAPER_MSE
from maml_core.results import SHIPPED, load_shipped, measure

NAMES = sorted(path.stem for path in SHIPPED.glob("*.pt"))
README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def percent(result: dict) -> str:
    return f"{100 * result['accuracy']:.1f} ± {100 * result['ci95']:.1f}"


def test_what_the_chapters_need_is_shipped():
    needed = {"sinusoid-5shot", "sinusoid-10shot", "sinusoid-pretrained", "omniglot-5way-1shot", "omniglot-5way-1shot-sum"}
    assert needed <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_weights_fit_their_recipe_and_have_their_story(name):
    theta, story = load_shipped(name)
    recipe = RECIPES[name]
    assert Recipe(**story["recipe"]) == recipe
    checkpoints.check_weights(theta, recipe.build_network(), SHIPPED / f"{name}.pt")
    assert all(w.isfinite().all() and not w.requires_grad for w in theta.values())
    facts = ("seed", "iterations", "device", "torch", "wall_seconds", "commit", "data", "evaluation")
    assert not [fact for fact in facts if story.get(fact) is None]
    assert story["history"][-1]["iteration"] == story["iterations"] >= (8_000 if "omniglot" in name else 70_000)
    assert story["data"] == story["evaluation"]["data"] == ("sinusoid" if recipe.is_regression else "omniglot")
    best = max if not recipe.is_regression else min
    assert story["best"]["validation"] == best(row["validation"] for row in story["history"])
    assert story["iteration"] == story["best"]["iteration"]


@pytest.mark.parametrize("name", [name for name in NAMES if RECIPES[name].is_regression])
def test_sinusoids_measured_again(name):
    """Other waves than the story's, so equal up to both intervals."""
    theta, story = load_shipped(name)
    again = measure(RECIPES[name], theta, seed=5, test_tasks=300)
    for step, mse in story["evaluation"]["mse"].items():
        assert abs(again["mse"][step] - mse) < 1.5 * (again["ci95"][step] + story["evaluation"]["ci95"][step])


def test_sinusoid_5shot_reaches_the_papers_table_2():
    evaluation = load_shipped("sinusoid-5shot")[1]["evaluation"]
    for step, paper in PAPER_MSE["sinusoid-5shot"].items():
        assert evaluation["mse"][str(step)] - evaluation["ci95"][str(step)] < paper


@pytest.mark.parametrize("name", ["omniglot-5way-1shot", "omniglot-5way-1shot-sum"])
def test_omniglot_measured_again(name, characters: Characters):
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    theta, story = load_shipped(name)
    again = measure(RECIPES[name], theta, characters, seed=5, test_tasks=150)
    assert abs(again["accuracy"] - story["evaluation"]["accuracy"]) < 1.5 * (again["ci95"] + story["evaluation"]["ci95"])
    assert again["accuracy_by_step"]["0"] < 0.25


def test_readme_prints_the_stories():
    rows = dict(re.findall(r"^\| `([\w-]+)`.*\| ([^|]+) \|$", README, re.M))
    for name in ("omniglot-5way-1shot", "omniglot-5way-1shot-sum"):
        _, story = load_shipped(name)
        assert rows[name] == f"{percent(story['evaluation'])} ({story['iterations']:,})"
    assert f"instead of one: {percent(load_shipped('omniglot-5way-1shot')[1]['evaluation_15_queries'])}." in README
    mse = load_shipped("sinusoid-5shot")[1]["evaluation"]["mse"]
    assert rows["sinusoid-5shot"] == " / ".join(f"{mse[step]:.2f}" for step in ("1", "5", "10"))


def test_readme_prints_the_papers_numbers():
    accuracy, ci95 = PAPER_ACCURACY["omniglot-5way-1shot"]
    assert f"| `omniglot-5way-1shot` (inner loss: mean) | {100 * accuracy:.1f} ± {100 * ci95:.1f} |" in README
    assert "| `sinusoid-5shot` | " + " / ".join(f"{v:.2f}" for v in PAPER_MSE["sinusoid-5shot"].values()) in README


def test_readme_links_lead_somewhere():
    root = Path(__file__).resolve().parent.parent
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(targets) > 8
    assert not [target for target in targets if not (root / target).exists()]


def test_torch_loads_the_files_without_running_code():
    for name in NAMES:
        assert "theta" in torch.load(SHIPPED / f"{name}.pt", weights_only=True)
