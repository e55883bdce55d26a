"""Shipped weights, their records, and the numbers on docs/results.md that come from them."""

import tomllib
from pathlib import Path

import pytest
import torch
from setuptools import find_packages

from maml_core.recipes import RECIPES
from maml_core.results import load_shipped, load_study, load_study_weights, measure
from maml_core.results.literature import PAPER_MSE
from maml_core.results.shipped import SHIPPED, unfinished_file
from maml_core.results.tables import accuracy_rows, percent
from maml_core.results.unfinished import copy_unfinished
from maml_core.tasks import Characters
from maml_core.training import checkpoints, load_training
from maml_core.training.record import TrainingRecord
from tests.small import read_page

NAMES = sorted(path.stem for path in SHIPPED.glob("*.pt"))
RESULTS = read_page("docs/results.md")


# Minimal meta-iterations: the paper's, or as many as two cores managed.
AT_LEAST = {"omniglot-5way-1shot": 60_000, "omniglot-5way-1shot-sum": 8_000, "omniglot-5way-1shot-mlp": 60_000}


# Their pictures may not be redistributed.
NOT_TRAINED = {"mini-imagenet-5way-1shot", "mini-imagenet-5way-5shot"}


def test_every_trained_recipe_is_shipped():
    assert set(NAMES) == set(RECIPES) - NOT_TRAINED


@pytest.mark.parametrize("name", NAMES)
def test_weights_fit_their_recipe_and_record(name):
    theta, record = load_shipped(name)
    recipe = RECIPES[name]
    assert record.recipe == recipe
    checkpoints.check_weights(theta, recipe.build_learner().network, SHIPPED / f"{name}.pt")
    assert all(w.isfinite().all() and not w.requires_grad for w in theta.values())
    names = ("seed", "iterations_run", "device", "torch", "wall_seconds", "commit", "data", "evaluation")
    assert not [missing for missing in names if getattr(record, missing) is None]
    validated, is_unfinished = record.history[-1]["iteration"], unfinished_file(name).exists()
    assert validated <= record.iterations_run if is_unfinished else validated == record.iterations_run
    assert record.iterations_run >= (70_000 if recipe.is_regression else AT_LEAST.get(name, 1))
    assert record.data == record.evaluation["data"] == ("sinusoid" if recipe.is_regression else "omniglot")
    best = max if not recipe.is_regression else min
    assert record.best["validation"] == best(row["validation"] for row in record.history)
    assert record.best_iteration == checkpoints.load(SHIPPED / f"{name}.pt")["iteration"]


@pytest.mark.parametrize("name", [name for name in NAMES if RECIPES[name].is_regression])
def test_sinusoid_evaluations_can_be_repeated(name):
    """On other waves than the record's, so equal up to both intervals."""
    theta, record = load_shipped(name)
    again = measure(RECIPES[name], theta, seed=5, test_tasks=300)
    for step, mse in record.evaluation["mse"].items():
        assert abs(again["mse"][step] - mse) < 1.5 * (again["ci95"][step] + record.evaluation["ci95"][step])


def test_sinusoid_5shot_reaches_table_2():
    evaluation = load_shipped("sinusoid-5shot")[1].evaluation
    for step, paper in PAPER_MSE["sinusoid-5shot"].items():
        assert evaluation["mse"][str(step)] - evaluation["ci95"][str(step)] < paper


# Trained in full and this much below the reported interval, at most: docs/results.md says what was looked at.
EXPLAINED = {
    "omniglot-5way-1shot-first-order": 0.006,  # less than our own interval
    "omniglot-20way-1shot": 0.018,  # no other run that we found does better
}


def test_recipes_trained_in_full_reach_the_reported_interval():
    """Only the paper's own recipes; ours are shorter, and the table has what each reaches."""
    full = {row.recipe: row for row in accuracy_rows() if row.iterations >= row.of == 60_000}
    assert {"omniglot-5way-1shot", "omniglot-5way-1shot-mlp"} <= full.keys()
    short = {row.recipe: row.short for row in full.values() if row.reported and row.short > 0}
    assert all(by <= EXPLAINED.get(name, 0) for name, by in short.items())


@pytest.mark.parametrize("name", ["omniglot-5way-1shot", "omniglot-5way-1shot-sum", "omniglot-5way-1shot-mlp"])
def test_omniglot_evaluations_can_be_repeated(name, characters: Characters):
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    theta, record = load_shipped(name)
    again = measure(RECIPES[name], theta, characters, seed=5, test_tasks=150)
    assert abs(again["accuracy"] - record.evaluation["accuracy"]) < 1.5 * (again["ci95"] + record.evaluation["ci95"])
    assert again["accuracy_by_step"]["0"] < 0.25


def test_results_page_has_the_length_of_the_20way_run():
    row = next(row for row in accuracy_rows() if row.recipe == "omniglot-20way-1shot")
    of = f" of {row.of:,}" if row.iterations < row.of else ""
    assert f"reaches {percent(row.ours)}% after {row.iterations:,}{of} meta-iterations" in RESULTS


def check_unfinished(name: str, out: Path) -> None:
    """A shipped unfinished run can be resumed in `out`, and belongs to the shipped weights and record."""
    recipe, (best, record) = RECIPES[name], load_shipped(name)
    copy_unfinished(name, out)
    state = load_training(out, pytest.fail)
    saved = TrainingRecord.from_json(state, out)
    assert saved.recipe == recipe
    saved.check_settings(record.settings(), out)
    for moments in (state["theta"], state["first_moment"], state["second_moment"]):
        checkpoints.check_weights(moments, recipe.build_learner().network, out)
    assert state["iteration"] == record.iterations_run < recipe.meta_iterations
    assert saved.history == record.history and saved.best == record.best
    weights = checkpoints.load(out / "weights.pt")
    assert weights["iteration"] == saved.best_iteration
    assert all(torch.equal(weights["theta"][key], w) for key, w in best.items())


def test_unfinished_runs_can_be_resumed(tmp_path):
    for path in unfinished_file("any").parent.glob("*"):
        assert path.suffix == ".pt"
        check_unfinished(path.stem, tmp_path / path.stem)


def test_shipped_files_load_without_running_code():
    for path in [*SHIPPED.glob("*.pt"), *unfinished_file("any").parent.glob("*.pt")]:
        assert "theta" in torch.load(path, weights_only=True)


def test_installation_has_every_module_and_file():
    """`pip install git+...` copies what pyproject.toml lists; an editable install would not miss anything."""
    root = Path(__file__).resolve().parent.parent.parent
    tools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(root).as_posix().replace("/", ".") for path in root.glob("maml_core/**/*.py")}
    assert set(find_packages(root, include=tools["packages"]["find"]["include"])) == folders
    named = {path for pattern in tools["package-data"]["maml_core"] for path in (root / "maml_core").glob(pattern)}
    assert named >= {path for path in SHIPPED.rglob("*") if path.is_file()}
    later = unfinished_file("any").relative_to(root / "maml_core")  # only exists while a run is unfinished
    assert any(later.match(pattern) for pattern in tools["package-data"]["maml_core"])


def test_results_page_has_the_numbers_of_the_studies():
    """Those under "What we found on the way", computed from the shipped results."""
    adapts = {row["condition"]: row for row in load_study("what-adapts").rows}
    test = {what: f"{100 * row['judged']['paper']['accuracy']:.1f}%" for what, row in adapts.items()}
    theta, _ = load_study_weights("what-adapts", "everything")
    c1, c2, c3, c4 = (f"{theta[f'alpha.conv{i}'].item():.2f}".replace("-0.00", "0.00") for i in range(1, 5))
    assert f"first three convolutions are at {c1}, {c2} and {c3}, and the fourth's is at {c4};" in RESULTS
    share = 100 * adapts["last block"]["cpu_seconds"] / adapts["everything"]["cpu_seconds"]
    assert f"takes {share:.0f}% of the time" in RESULTS
    body, head = f"{test['body']} with the body alone", f"{test['head']} with the head alone"
    assert f"{test['last block']}, against {test['everything']} when everything adapts, {body} and {head}" in RESULTS
    for ways in ("5way", "20way"):
        record = load_shipped(f"omniglot-{ways}-1shot-fast")[1]
        reached = percent((record.evaluation["accuracy"], record.evaluation["ci95"]))
        assert f"reaches {reached}% after {record.iterations_run:,}" in RESULTS
        assert f"the training took {record.cpu_seconds / 60:.0f} minutes" in RESULTS
    seen = {(row["sees"], row["queries"]): row["mean"] for row in load_study("query-batches").rows}
    at = {(row["recipe"], row["multiple"], row["steps"]): row["mean"] for row in load_study("alpha-at-test").rows}
    mean, sums = "omniglot-5way-1shot", "omniglot-5way-1shot-sum"
    printed = [seen["query batch", 1], seen["query batch", 15], seen["support", 1]]
    printed += [at[mean, 0.1, 3], at[mean, 1, 3], at[mean, 2, 1], at[sums, 2, 1]]
    for name, protocols in (("loss-scale-5way", ["paper"]), ("loss-scale-20way", ["paper"]), ("order", ["paper"]),
                            ("rotations", ["turned characters", "upright characters"])):  # fmt: skip
        printed += [row["judged"][protocol]["accuracy"] for row in load_study(name).rows for protocol in protocols]
    found = RESULTS[RESULTS.index("## What we found on the way") : RESULTS.index("## Three families")]
    assert not [value for value in printed if f"{100 * value:.1f}" not in found]
    for name in ("loss-scale-5way", "loss-scale-20way"):
        assert f"after {load_study(name).settings['iterations']:,}" in found.lower()


def test_results_page_has_the_numbers_of_the_three_families():
    """The time of prototypes relative to MAML's, and the accuracy that all lose at 45 degrees."""
    each = {(row["ways"], row["learner"]): row["cpu_seconds"] for row in load_study("families-cost").rows}
    shares = [f"{100 * each[ways, 'prototypes'] / each[ways, 'MAML']:.0f}%" for ways in (5, 20)]
    assert f"takes {shares[0]} of MAML's time at 5 ways and {shares[1]} at 20" in RESULTS
    mean = {(row["axis"], row["value"], row["learner"]): row["mean"] for row in load_study("families-shift").rows}
    lost = [mean["turned", 0, name] - mean["turned", 45, name] for name in ("MAML", "prototypes", "matching", "memory")]
    assert f"turned by 45 degrees they lose {100 * min(lost):.1f} to {100 * max(lost):.1f} points" in RESULTS
    validation = {row["condition"]: row["history"][0]["validation"] for row in load_study("families-5way").rows}
    behind = 100 * (validation["prototypes"] - validation["MAML"])
    assert f"after 1,000 meta-iterations it is {behind:.0f} points behind prototypes on validation tasks" in RESULTS
    assert f"and after {load_study('families-5way').settings['iterations']:,} the two are level" in RESULTS
