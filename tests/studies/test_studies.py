"""Studies: training runs that differ in one factor, and shipped weights measured along one axis."""

import json
import shutil
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import pytest
import torch

from maml_core import __main__ as cli
from maml_core.cli import commands
from maml_core.episodes import Episodes
from maml_core.learners import READERS
from maml_core.recipes import find_recipe
from maml_core.results import load_shipped, load_study, load_study_weights, protocol
from maml_core.results import shipped as results
from maml_core.results.study_result import StudyResult
from maml_core.results.tables import ONE_THETA, error_table
from maml_core.studies import (
    STUDIES,
    Condition,
    Study,
    StudyContext,
    Trainings,
    annealing,
    measurements,
    shrinking,
    trainings,
)  # fmt: skip
from maml_core.tasks import Characters, SinusoidTasks
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.training import checkpoints, monitor
from maml_core.training.loop import Settings
from maml_core.util import seeded_generator


@pytest.fixture(scope="module")
def few_glyphs() -> Characters:
    return Characters(draw_glyphs(60).repeat(28, 1, 1, 1)[:1623], "glyphs")


@pytest.fixture(autouse=True)
def quick_validation(monkeypatch) -> None:
    """Without this, 300 validation tasks take most of the time of a run of three meta-iterations."""
    monkeypatch.setattr(monitor, "VALIDATION_TASKS", 20)


TINY = {"meta_batch": 2, "ways": 3}
ONE_FACTOR = Trainings(
    {"mean": Condition("omniglot-5way-1shot-mlp", {"inner_loss": "mean", **TINY}),
     "sum": Condition("omniglot-5way-1shot-mlp", TINY)},
    iterations=3,
    validate_every=2,
    test_tasks=20,
)  # fmt: skip
TRAINED = {name: study for name, study in STUDIES.items() if isinstance(study.answer, Trainings)}


def study_of(answer=ONE_FACTOR, name: str = "small", **how) -> Study:
    return Study(name, "Which inner loss?", answer, trains=True, **how)


def quiet_context(characters: Characters | None, out: Path, **how) -> StudyContext:
    return StudyContext(out=out, characters=lambda: characters, log=lambda text: None, **how)


def test_conditions_of_a_study_differ_in_one_factor():
    for name, study in TRAINED.items():
        if name == "seeds":  # two recipes, each with several seeds
            continue
        recipes = [asdict(one.build()) | {"precision": one.precision} for one in study.answer.conditions.values()]
        different = {key for recipe in recipes for key in recipe if recipe[key] != recipes[0][key]} - {"name"}
        if name == "variants":  # first order is one of them, with its own field
            different.remove("first_order")
        if name == "overfitting":  # two factors, every combination of them
            assert {(recipe["turned_classes"], recipe["jitter"]) for recipe in recipes} == set(
                product([False, True], repeat=2)
            )
            different.remove("jitter")
        if any(recipe["variant"] in READERS for recipe in recipes):
            different -= {"inner_steps", "test_steps", "inner_loss"}  # only matter for gradient steps, not for readers
        assert len(different) == 1, study.question


def test_study_runs_every_condition_and_seed_and_can_be_resumed(few_glyphs, tmp_path):
    study = study_of()
    result = study.run(quiet_context(few_glyphs, tmp_path))
    assert [(row["condition"], row["seed"]) for row in result.rows] == [("mean", 0), ("mean", 1), ("sum", 0), ("sum", 1)]
    for row in result.rows:
        assert [entry["iteration"] for entry in row["history"]] == [2, 3]
        assert row["judged"]["paper"]["queries"] == 1 and row["judged"]["15 queries"]["queries"] == 15
        assert row["judged"]["paper"]["inner_loss"] == row["condition"]
    result.save(tmp_path / "small.txt")  # JSON whatever its name
    assert StudyResult.load(tmp_path / "small.txt") == result
    result.save(tmp_path / "small.json")
    assert StudyResult.load(tmp_path / "small.json") == result
    again = study.run(quiet_context(few_glyphs, tmp_path, seeds=(0,)))
    assert [row["judged"] for row in again.rows] == [row["judged"] for row in result.rows if row["seed"] == 0]
    longer = study.run(quiet_context(few_glyphs, tmp_path, seeds=(0,), iterations=5))
    assert [entry["iteration"] for entry in longer.rows[0]["history"]] == [2, 3, 4, 5]
    with pytest.raises(ValueError, match="past the 4 of this study: move it away"):
        study.run(quiet_context(few_glyphs, tmp_path, seeds=(0,), iterations=4))


def test_study_evaluates_with_its_protocols(few_glyphs, tmp_path):
    protocols = {"turned": ({"rotations": True}, None), "upright": ({"rotations": False}, 2)}
    answer = replace(ONE_FACTOR, conditions={"sum": ONE_FACTOR.conditions["sum"]}, protocols=protocols, iterations=1)
    (row,) = study_of(answer).run(quiet_context(few_glyphs, tmp_path, seeds=(0,))).rows
    assert row["judged"]["turned"]["accuracy"] != row["judged"]["upright"]["accuracy"]
    assert row["judged"]["upright"]["queries"] == 2


def test_without_iterations_a_study_takes_its_recipes(few_glyphs, tmp_path):
    conditions = {str(n): Condition("omniglot-5way-1shot-mlp", {"meta_iterations": n, **TINY}) for n in (2, 3)}
    result = study_of(replace(ONE_FACTOR, conditions=conditions, iterations=None)).run(
        quiet_context(few_glyphs, tmp_path, seeds=(0,))
    )
    assert [row["history"][-1]["iteration"] for row in result.rows] == [2, 3] and result.settings["iterations"] is None


def test_complete_runs_are_only_read(few_glyphs, tmp_path, monkeypatch):
    """Even where they come from another machine without their checkpoints; one with other settings is refused."""
    result = study_of().run(quiet_context(few_glyphs, tmp_path, seeds=(0,)))
    for checkpoint in tmp_path.rglob("checkpoint*.pt"):
        checkpoint.unlink()
    monkeypatch.setattr(trainings, "train", lambda *arguments: pytest.fail("trained again"))
    assert study_of().run(quiet_context(few_glyphs, tmp_path, seeds=(0,))).rows == result.rows
    other = replace(ONE_FACTOR, conditions={"sum": Condition("omniglot-5way-1shot-mlp", {"alpha": 0.3})})
    folder = tmp_path / Condition("omniglot-5way-1shot-mlp", TINY).folder(0)
    folder.rename(tmp_path / other.conditions["sum"].folder(0))
    with pytest.raises(ValueError, match="alpha is 0.4 in the checkpoint and 0.3 here"):
        study_of(other).run(quiet_context(few_glyphs, tmp_path, seeds=(0,)))


def test_precision_is_a_factor_of_its_own(few_glyphs, tmp_path):
    """Its runs have folders of their own, and the results state it; where it is no factor, any complete run will do."""
    recipe = ("omniglot-5way-1shot-mlp", TINY)
    conditions = {precision: Condition(*recipe, precision=precision) for precision in ("float32", "tf32")}
    study, context = study_of(replace(ONE_FACTOR, conditions=conditions)), quiet_context(few_glyphs, tmp_path, seeds=(0,))
    with pytest.raises(ValueError, match="tf32 is for GPUs only"):
        study.run(context)
    float32, tf32 = (tmp_path / condition.folder(0) for condition in conditions.values())
    assert float32.is_dir() and tf32.name.endswith("meta_batch=2,ways=3,precision=tf32,seed=0")
    float32.rename(tf32)  # as if it came from a GPU, but with the other one's record
    with pytest.raises(ValueError, match="precision is float32 in the checkpoint and tf32 here"):
        study.run(context)
    record = json.loads((tf32 / "history.json").read_text())
    (tf32 / "history.json").write_text(json.dumps(record | {"precision": "tf32"}))
    assert [row["precision"] for row in study.run(context).rows] == ["float32", "tf32"]
    shutil.rmtree(float32)
    tf32.rename(float32)
    (row,) = study_of(replace(ONE_FACTOR, conditions={"any": Condition(*recipe)})).run(context).rows
    assert row["precision"] == "tf32"


def test_study_saves_the_weights_of_the_first_seed(few_glyphs, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "STUDY_FOLDER", tmp_path)
    study = study_of(ships=("mean", "sum"))
    result = study.run(quiet_context(few_glyphs, tmp_path, seeds=(2, 3), weights=tmp_path / "small"))
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["mean.pt", "sum.pt"]
    theta, recipe = load_study_weights("small", "sum")
    assert recipe.inner_loss == "sum" and recipe.ways == 3
    again = protocol.measure(recipe, theta, few_glyphs, test_tasks=20, by_step=False)
    assert again["accuracy"] == next(r for r in result.rows if r["condition"] == "sum")["judged"]["paper"]["accuracy"]
    with pytest.raises(
        FileNotFoundError, match=r"No weights are shipped for max of the study small \(shipped: mean, sum\)"
    ):
        load_study_weights("small", "max")


@pytest.mark.parametrize("variant", TRAINED["variants"].answer.conditions)
def test_shipped_variants_match_their_evaluation(variant, characters):
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    theta, recipe = load_study_weights("variants", variant)
    assert recipe == TRAINED["variants"].answer.conditions[variant].build()
    row = next(r for r in load_study("variants").rows if (r["condition"], r["seed"]) == (variant, 0))
    judged, again = (
        row["judged"]["paper"],
        protocol.measure(recipe, theta, characters, seed=5, test_tasks=50, by_step=False),
    )
    assert abs(again["accuracy"] - judged["accuracy"]) < 1.5 * (again["ci95"] + judged["ci95"])


def test_shipped_studies_compare_runs_of_equal_length():
    for name, study in TRAINED.items():
        shipped, conditions = load_study(name), study.answer.conditions
        assert {row["condition"] for row in shipped.rows} == set(conditions)
        ran, settings = {row["condition"]: row["history"][-1]["iteration"] for row in shipped.rows}, shipped.settings
        assert settings["iterations"] == study.answer.iterations
        of = {label: settings["iterations"] or one.build().meta_iterations for label, one in conditions.items()}
        assert ran == of
        by_condition = {c: sorted(r["seed"] for r in shipped.rows if r["condition"] == c) for c in conditions}
        assert len({tuple(seeds) for seeds in by_condition.values()}) == 1, "the same seeds on both sides"
        assert settings["data"] == "omniglot"


def test_close_comparisons_have_two_seeds():
    for name in ("loss-scale-5way", "loss-scale-20way", "variants"):
        assert {row["seed"] for row in load_study(name).rows} == {0, 1}


def test_error_against_steps_matches_a_plain_loop():
    """One row of the shipped study, computed wave by wave with one autograd step."""
    theta, _ = load_shipped("sinusoid-5shot")
    network = find_recipe("sinusoid-5shot").build_network()
    generator, errors = seeded_generator(0), []
    for _ in range(24):
        for task in SinusoidTasks(5, queries=100).sample(25, generator):
            one = Episodes(*(t[None] for t in task.tensors()))
            own = {name: w.clone().requires_grad_() for name, w in theta.items()}
            loss = ((network.forward(own, one.support_x) - one.support_y) ** 2).mean()
            gradients = torch.autograd.grad(loss, list(own.values()))
            phi = {name: w - 0.01 * g for (name, w), g in zip(own.items(), gradients)}
            errors.append(((network.forward(phi, one.query_x) - one.query_y) ** 2).mean().item())
    rows = load_study("error-against-steps").rows
    (row,) = (r for r in rows if (r["method"], r["shots"], r["steps"]) == ("MAML", 5, 1))
    assert sum(errors) / len(errors) == pytest.approx(row["mean"], rel=1e-3)


def test_one_theta_for_all_k_is_measured_beside_one_for_each():
    """On the same waves; those that its steps throw off are counted, and leave no number where the mean is infinite."""
    rows = {(r["method"], r["shots"], r["steps"]): r for r in load_study("error-against-steps").rows}
    own, one = ({n: rows[method, 5, n] for n in range(11)} for method in ("MAML", ONE_THETA))
    assert (ONE_THETA, 10, 1) not in rows and rows[ONE_THETA, 20, 10]["mean"] > rows["MAML", 20, 10]["mean"]
    assert all(row["recipe"] == "sinusoid-10shot" for row in one.values()) and own[10]["lost"] == 0
    assert one[10]["mean"] is None and one[10]["lost"] == 2 and own[10]["median"] < one[10]["median"] < 0.3
    assert "| here, 100 query points, theta trained with K = 10 | 0.74 ± 0.07 | 1.16 ± 1.18 | diverged" in error_table()


def test_pretrained_network_gets_a_tuned_alpha():
    learner = find_recipe("sinusoid-pretrained").build_learner()
    theta, _ = load_shipped("sinusoid-pretrained")
    alpha = measurements.tuned_alpha(learner, theta, SinusoidTasks(5, queries=10))
    rows = [row for row in load_study("error-against-steps").rows if row["method"] == "pretrained"]
    assert alpha in measurements.ALPHAS and alpha == next(row["alpha"] for row in rows if row["shots"] == 5)


def test_measurements_need_omniglot(few_glyphs, tmp_path):
    for measure in (
        measurements.query_batches, measurements.alpha_at_test, measurements.seen_and_new, annealing.annealing,
        shrinking.shrinking,
    ):  # fmt: skip
        with pytest.raises(ValueError, match="Omniglot, which is not on disk"):
            measure(quiet_context(few_glyphs, tmp_path))


def test_small_query_batches_and_alpha_at_test(characters, monkeypatch, tmp_path):
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    monkeypatch.setattr(measurements, "TEST_TASKS", 25)
    monkeypatch.setattr(measurements, "QUERIES", (1, 2))
    monkeypatch.setattr(measurements, "MULTIPLES", (0, 1))
    context = quiet_context(characters, tmp_path)
    rows = {(row["sees"], row["queries"]): row["mean"] for row in measurements.query_batches(context).rows}
    assert len(rows) == 6 and rows["query batch", 1] > rows["support", 1] > 0.8
    rows = {(row["recipe"], row["multiple"], row["steps"]): row for row in measurements.alpha_at_test(context).rows}
    none, trained = (rows["omniglot-5way-1shot", multiple, 3] for multiple in (0, 1))
    assert none["mean"] < 0.35 and none["alpha"] == 0 and trained["mean"] > 0.9 and trained["alpha"] == 0.4


def test_small_comparison_of_seen_and_new_characters(characters, monkeypatch, tmp_path):
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    name = "omniglot-20way-1shot-prototypes"
    monkeypatch.setattr(measurements, "TEST_TASKS", 20)
    monkeypatch.setattr(measurements, "TWENTY_WAYS", (name,))
    seen, new = measurements.seen_and_new(quiet_context(characters, tmp_path)).rows
    assert seen["recipe"] == new["recipe"] == name and 0.9 < new["mean"] < seen["mean"]
    assert seen["characters"] == "training characters" and new["iterations"] == load_shipped(name)[1].iterations_run


def test_shrinking_trains_and_tests_on_both_kinds_of_pictures(few_glyphs, monkeypatch, tmp_path):
    grey = replace(few_glyphs, source="omniglot")
    hard = replace(grey, images=(grey.images > 127).to(torch.uint8) * 255)
    condition = Condition("omniglot-5way-1shot-mlp", TINY)
    monkeypatch.setattr(shrinking, "CONDITION", condition)
    monkeypatch.setattr(shrinking, "read_omniglot", lambda resampling: {"nearest": hard.images}[resampling])
    tiny = Trainings({"any": condition}, iterations=2, validate_every=1, test_tasks=10, protocols={})
    found = shrinking.shrinking(quiet_context(grey, tmp_path, seeds=(0,)), tiny)
    assert [row["condition"] for row in found.rows] == ["Lanczos", "nearest neighbour"]
    losses = [[entry["loss"] for entry in row["history"]] for row in found.rows]
    assert losses[0] != losses[1] and found.settings["iterations"] == 2
    for row, folder in zip(found.rows, (tmp_path, tmp_path / "nearest")):
        theta = checkpoints.load(folder / condition.folder(0) / "weights.pt")["theta"]
        for kind, pictures in (("Lanczos", grey), ("nearest neighbour", hard)):
            again = protocol.measure(condition.build(), theta, pictures, 0, 10, by_step=False)
            assert row["judged"][kind] == again
    monkeypatch.setattr(shrinking, "read_omniglot", lambda resampling: grey.images)
    with pytest.raises(ValueError, match="those on disk are 28 x 28 already"):
        shrinking.shrinking(quiet_context(grey, tmp_path), tiny)


def test_annealing_begins_at_the_shipped_theta(characters, monkeypatch, tmp_path):
    """Adam's first step moves every weight by the learning rate, whatever the schedule; with two, cosine moves less."""
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    monkeypatch.setattr(annealing, "NAME", "omniglot-5way-1shot-fast")
    start, record = load_shipped(annealing.NAME)
    context = replace(quiet_context(characters, tmp_path), seeds=(0,), engine="eager")
    moved = {}
    for schedule, iterations in (("constant", 1), ("cosine", 1), ("constant", 2), ("cosine", 2)):
        trainer = annealing.trainer_from(record.recipe, start, schedule, iterations, characters, Settings(engine="eager"))
        for name, w in start.items():
            torch.testing.assert_close(trainer.theta[name], w, rtol=0, atol=0)
        trainer.run(iterations)
        moved[schedule, iterations] = max((trainer.theta[name] - w).abs().max().item() for name, w in start.items())
    rate = record.recipe.meta_learning_rate
    assert moved["constant", 1] == moved["cosine", 1] == pytest.approx(rate, rel=1e-3)
    assert moved["cosine", 2] < 1.51 * rate < moved["constant", 2] < 2.01 * rate
    rows = annealing.annealing(context, iterations=1, tasks=10).rows
    assert [row["condition"] for row in rows] == ["before", "constant", "constant, averaged", "cosine"]
    assert rows[1]["loss"] == rows[3]["loss"] and all(rows[1][part] == rows[3][part] for part in ("train", "test"))
    assert all(row[part]["mean"] > 0.8 for row in rows for part in ("train", "test"))
    with pytest.raises(ValueError, match="iterations must be at least 1, not 0"):
        annealing.annealing(replace(context, iterations=0), tasks=10)


def test_command_line_writes_the_results(tmp_path, monkeypatch, capsys, few_glyphs):
    monkeypatch.setitem(STUDIES, "order", study_of(name="order"))
    monkeypatch.setattr(commands, "load_characters", lambda source: few_glyphs)
    results = tmp_path / "order.json"
    places = ["--out", str(tmp_path / "runs"), "--results", str(results)]
    assert cli.main(["study", "order", "--iterations", "1", "--seeds", "3", *places]) == 0
    assert "2 rows in" in capsys.readouterr().out
    study = json.loads(results.read_text())
    assert study["study"] == "order" and [row["seed"] for row in study["rows"]] == [3, 3]


@pytest.mark.parametrize("ship", [False, True])
def test_results_only_go_into_the_package_with_ship(tmp_path, monkeypatch, few_glyphs, ship):
    """With the weights that the study ships; otherwise they go below runs/."""
    package = tmp_path / "package"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "STUDY_FOLDER", package)
    monkeypatch.setitem(STUDIES, "variants", study_of(name="variants", ships=("mean", "sum")))
    monkeypatch.setattr(commands, "load_characters", lambda source: few_glyphs)
    assert cli.main(["study", "variants", "--iterations", "1", "--seeds", "3", *["--ship"] * ship]) == 0
    assert (tmp_path / "runs" / "studies" / "variants.json").exists() is not ship
    shipped = sorted(str(path.relative_to(package)) for path in package.rglob("*.*"))
    assert shipped == (["variants.json", "variants/mean.pt", "variants/sum.pt"] if ship else [])
