"""What all studies have in common: an entry in the registry, one interface, one result format."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from maml_core import __main__ as cli
from maml_core.cli import commands
from maml_core.recipes import find_recipe
from maml_core.results import load_study, load_study_weights
from maml_core.results import shipped as results
from maml_core.results.study_result import StudyResult
from maml_core.studies import STUDIES, Findings, Study, StudyContext


def toy(context: StudyContext) -> Findings:
    """Rows with the options of the command line, and a checkpoint."""
    (context.out / "toy").mkdir(parents=True)
    rows = [{"seed": seed, "iterations": context.iterations, "engine": context.engine} for seed in context.seeds]
    theta = {"theta": {"w": torch.ones(2)}, "recipe": asdict(find_recipe("sinusoid-5shot")), "iteration": 1}
    return Findings(rows, {"device": context.device}, {"mean": 0.5}, {"small": theta})


@pytest.mark.parametrize("ship", [False, True])
def test_adding_a_study_takes_one_registry_entry(tmp_path, monkeypatch, capsys, ship):
    """The command line lists it, passes its options on, and saves its results and weights."""
    monkeypatch.chdir(tmp_path)
    for module in (commands, results):
        monkeypatch.setattr(module, "STUDY_FOLDER", tmp_path / "package")
    monkeypatch.setattr(commands, "load_characters", lambda source: pytest.fail("it needs no characters"))
    monkeypatch.setitem(STUDIES, "toy", Study("toy", "Does it run?", toy, ships=("small",)))
    with pytest.raises(SystemExit):
        cli.main(["study", "--help"])
    assert "navigation-distance, toy" in " ".join(capsys.readouterr().out.split())
    options = ["--iterations", "7", "--seeds", "1", "5", "--engine", "eager"]
    assert cli.main(["study", "toy", *options, *["--ship"] * ship]) == 0
    path = commands.STUDY_FOLDER / "toy.json" if ship else Path("runs/studies/toy.json")
    assert capsys.readouterr().out == f"Does it run? 2 rows in {path}\n"
    found = StudyResult.load(path)
    assert found.rows == [{"seed": seed, "iterations": 7, "engine": "eager"} for seed in (1, 5)]
    assert (found.study, found.settings, found.extra) == ("toy", {"device": "cpu"}, {"mean": 0.5})
    assert found.torch == str(torch.__version__) and found.commit == commands._commit()
    if ship:
        assert load_study("toy") == found and load_study_weights("toy", "small")[0]["w"].tolist() == [1, 1]
    else:
        assert not commands.STUDY_FOLDER.exists()


# The result of an earlier version, which stored everything at the top level.
OLD = {"question": "How far?", "iterations": 4, "tasks": 9, "best": -0.1, "trainings": [{"seed": 0}],
       "rows": [{"seed": 0, "best": 3}], "study": "how-far", "torch": "2.15.0", "commit": None}  # fmt: skip


def test_earlier_schema_is_migrated(tmp_path):
    (tmp_path / "how-far.json").write_text(json.dumps(OLD))
    assert StudyResult.load(tmp_path / "how-far.json") == StudyResult(
        study="how-far", question="How far?", settings={"iterations": 4, "tasks": 9}, rows=[{"seed": 0, "best": 3}],
        extra={"best": -0.1, "trainings": [{"seed": 0}]}, torch="2.15.0",
    )  # fmt: skip


def test_newer_schema_is_rejected(tmp_path):
    path = tmp_path / "how-far.json"
    path.write_text(json.dumps(OLD | {"schema": 3}))
    with pytest.raises(ValueError, match=r"far.json was written by a newer maml_core \(its schema is 3.*: update"):
        StudyResult.load(path)


def test_every_study_has_a_shipped_result():
    for name, study in STUDIES.items():
        shipped = load_study(name)
        assert (shipped.schema, shipped.study, shipped.question) == (2, study.name, study.question) and name == study.name
        assert all(load_study_weights(name, condition) for condition in study.ships)
