"""TrainingRecord: its content, and files from other versions of maml_core."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from maml_core import __main__ as cli
from maml_core.recipes import find_recipe
from maml_core.results import load_shipped
from maml_core.results import shipped as results
from maml_core.training import checkpoints
from maml_core.training.checkpoints import CHECKPOINT, PREVIOUS
from maml_core.training.record import TrainingRecord
from tests.small import SMALL, small_train

NAME = "sinusoid-5shot"
# What a run of 30 meta-iterations, the best of them the 20th, stored before there was a schema.
OLD = {
    "recipe": {
        "name": NAME, "network": "sinusoid", "ways": 1, "shots": 5, "alpha": 0.01, "inner_steps": 1,
        "test_steps": [0, 1, 5, 10], "meta_batch": 4, "meta_iterations": 70000, "queries": None, "inner_loss": "mean",
        "first_order": False, "rotations": True, "split": "characters",
    },
    "seed": 3,
    "wall_seconds": 12.5,
    "history": [
        {"iteration": 10, "loss": 4.0, "validation": 3.5, "ci95": 0.3},
        {"iteration": 20, "loss": 3.6, "validation": 3.0, "ci95": 0.2},
        {"iteration": 30, "loss": 3.5, "validation": 3.25, "ci95": 0.2},
    ],
    "best": {"iteration": 20, "validation": 3.0, "ci95": 0.2},
    "device": "cpu",
    "torch": "2.15.0",
    "data": "sinusoid",
    "commit": "3823b76",
    "cpu_seconds": 6.0,
    "cpu_by_history": [2.0, 4.0, 6.0],
    "iterations": 30,
}  # fmt: skip


def old_run(out: Path) -> Path:
    """The folder of such a run, with tensors from a run of today."""
    state = small_train(out, 30, recipe=TrainingRecord.from_json(OLD, "").recipe, seed=3, metadata={"data": "sinusoid"})
    tensors = {key: state[key] for key in state.keys() - asdict(TrainingRecord(recipe=SMALL)).keys()}
    metadata = {key: value for key, value in OLD.items() if key != "history"}
    best = {**metadata, "theta": checkpoints.load(out / "weights.pt")["theta"], "iterations": 10, "iteration": 20}
    checkpoints.save({**OLD, **tensors}, out / CHECKPOINT)
    checkpoints.save(best, out / "weights.pt")
    checkpoints.save(OLD, out / "history.json")
    for path in (out / CHECKPOINT, out / "weights.pt"):
        assert "schema" not in checkpoints.load(path)
    return out


def test_record_round_trips_through_json(tmp_path):
    state = small_train(tmp_path, 30, metadata={"data": "sinusoid", "commit": "abc", "processes": 1})
    record = results.load_record(tmp_path / "history.json")
    assert record == TrainingRecord.from_json(json.loads(json.dumps(record.to_json())), "")
    assert record == replace(TrainingRecord.from_json(state, ""), wall_seconds=record.wall_seconds)
    assert (record.schema, record.recipe, record.data, record.commit, record.processes) == (2, SMALL, "sinusoid", "abc", 1)
    assert record.iterations_run == 30 == record.history[-1]["iteration"]
    lowest = min(record.history, key=lambda row: row["validation"])
    assert record.best_iteration == lowest["iteration"] == checkpoints.load(tmp_path / "weights.pt")["iteration"]
    assert TrainingRecord(recipe=SMALL).best_iteration is None


def test_earlier_schema_is_migrated():
    record = TrainingRecord.from_json(OLD | {"iteration": 20, "evaluation": {"mse": {"1": 3.1}}}, "")
    assert record.recipe == replace(find_recipe(NAME), meta_batch=4, inner_loss="mean", test_steps=(0, 1, 5, 10))
    assert (record.schema, record.iterations_run, record.best_iteration) == (2, 30, 20)
    assert (record.seed, record.precision, record.processes, record.commit) == (3, "float32", None, "3823b76")
    assert record.history == OLD["history"] and record.evaluation == {"mse": {"1": 3.1}}
    assert "iterations" not in record.to_json() and "iteration" not in record.to_json()
    assert TrainingRecord.from_json({"recipe": OLD["recipe"]}, "").cpu_seconds is None, "they were not counted yet"


def test_run_of_an_earlier_version_can_be_resumed(tmp_path, capsys):
    out = old_run(tmp_path / "old")
    assert cli.main(["train", NAME, "--resume", "--out", str(out), "--engine", "eager", "--iterations", "30"]) == 0
    assert "already at meta-iteration 30, so there is nothing left to train up to 30." in capsys.readouterr().out
    more = ["--engine", "eager", "--iterations", "40", "--validate-every", "10"]
    assert cli.main(["train", NAME, "--resume", "--out", str(out), *more]) == 0
    record = results.load_record(out / "history.json")
    assert (record.schema, record.iterations_run, record.seed) == (2, 40, 3) and record.cpu_seconds > 6
    assert record.history[:3] == OLD["history"] and record.history[3]["iteration"] == 40
    straight = small_train(tmp_path / "straight", 40, recipe=record.recipe, seed=3)
    assert torch.equal(checkpoints.load(out / CHECKPOINT)["theta"]["w1"], straight["theta"]["w1"])


def test_run_of_an_earlier_version_can_be_published(tmp_path, monkeypatch, capsys):
    out = old_run(tmp_path / "old")
    monkeypatch.setattr(results, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(results, "measure", lambda recipe, *_, **__: {
        "recipe": recipe.name, "mse": {"1": 0.5}, "ci95": {"1": 0.1}, "tasks": 600, "data": "sinusoid",
    })  # fmt: skip
    assert cli.main(["publish", str(out), "--as", NAME]) == 0
    assert "The run is at meta-iteration 30 of 70,000" in capsys.readouterr().out
    record = load_shipped(NAME)[1]
    assert (record.schema, record.iterations_run, record.best_iteration) == (2, 30, 20)
    assert record.history == OLD["history"] and record.evaluation["mse"] == {"1": 0.5}
    assert cli.main(["evaluate", NAME, "--weights", str(out / "weights.pt"), "--tasks", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["iterations"] == 20
    assert cli.main(["train", NAME, "--resume", "--out", str(tmp_path / "taken"), "--iterations", "30"]) == 0
    assert "Resuming the training run that ships with the package, at meta-iteration 30" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train {name} --resume --out {out}", "publish {out}",
                                     "evaluate {name} --weights {out}/weights.pt --tasks 2"])  # fmt: skip
def test_run_of_a_newer_version_is_rejected_and_left_alone(tmp_path, capsys, command):
    """A newer version may give the same names other meanings, so its files are not touched."""
    small_train(tmp_path, 10, recipe=find_recipe(NAME))
    for name in (CHECKPOINT, "weights.pt"):
        newer = checkpoints.load(tmp_path / name) | {"schema": 3}
        checkpoints.save(newer, tmp_path / name, tmp_path / PREVIOUS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert cli.main(command.format(name=NAME, out=tmp_path).split()) == 2
    err = capsys.readouterr().err
    assert "was written by a newer maml_core (its schema is 3; this version reads up to 2): update maml_core." in err
    assert str(tmp_path) in err and {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_validation_is_flat_since_it_came_within_its_interval_of_the_best():
    def flat_for(*validations, ran=None):
        history = [{"iteration": 10 * (i + 1), "validation": v, "ci95": 0.01} for i, v in enumerate(validations)]
        best = max(history, key=lambda row: row["validation"], default=None)
        recipe = find_recipe("omniglot-5way-1shot")
        return TrainingRecord(recipe=recipe, history=history, best=best, iterations_run=ran or 10 * len(history)).flat_for

    assert flat_for() == 0  # not validated yet
    assert flat_for(0.5, 0.6, 0.7) == 0  # rising by more than the interval
    assert flat_for(0.5, 0.695, 0.7, 0.66) == 20 and flat_for(0.5, 0.695, 0.7, 0.66, ran=45) == 25
    assert TrainingRecord(recipe=SMALL, history=[{"validation": 0.1}], best={"validation": 0.1, "ci95": 0.1}).flat_for == 0
