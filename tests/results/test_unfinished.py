"""A long training survives the machine that it began on: shipped before its end, taken up elsewhere, shipped again."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from maml_core import __main__ as cli
from maml_core.cli import training as train_command
from maml_core.recipes import RECIPES, find_recipe
from maml_core.results import shipped as results
from maml_core.results import unfinished
from maml_core.training import checkpoints, loop
from maml_core.training.checkpoints import CHECKPOINT, PREVIOUS
from maml_core.training.interrupts import Stopped
from tests.cli.test_cli import assert_refused, contents
from tests.kill_and_resume import ending, same
from tests.results.test_shipped import check_unfinished

NAME = "sinusoid-5shot"
TRAIN = ["train", NAME, "--engine", "eager", "--validate-every", "4"]
RUN = Path("runs") / NAME


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch) -> Path:
    """The package's folder, empty; a recipe of twelve meta-iterations; a judgement that takes no time; a new machine."""
    monkeypatch.setitem(RECIPES, NAME, replace(find_recipe(NAME), meta_iterations=12))
    monkeypatch.setattr(results, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(results, "measure", lambda recipe, *_, **__: {
        "recipe": recipe.name, "mse": {"1": 0.5}, "ci95": {"1": 0.1}, "tasks": 600, "data": "sinusoid",
    })  # fmt: skip
    move(tmp_path, monkeypatch, "machine")
    return tmp_path / "shipped"


def move(root: Path, monkeypatch, machine: str) -> None:
    (root / machine).mkdir()
    monkeypatch.chdir(root / machine)


def train(*more: str, stop: int | None = None) -> None:
    """The command, to its end or stopped in the n-th meta-iteration as Ctrl-C does."""

    def look(recipe, trainer, *arguments):
        if trainer.iteration == stop:
            raise Stopped(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "check_finite", look)
        assert cli.main([*TRAIN, *more]) == (130 if stop else 0)


def publish(*more: str, run: Path = RUN) -> None:
    assert cli.main(["publish", str(run), *more]) == 0


@pytest.mark.parametrize("at", [4, 7, 8], ids=["ended by --iterations", "between two validations", "before one"])
@pytest.mark.parametrize("out", [None, "elsewhere/mine"])
def test_it_ends_elsewhere_as_if_nothing_had_happened(tmp_path, monkeypatch, capsys, shipped, at, out):
    """Shipped, taken up on another machine, ended: the straight training to the last bit, and no checkpoint is left."""
    train("--seed", "3", "--out", "straight")
    straight = ending(Path("straight"))
    train("--seed", "3", "--iterations", "4")
    if at > 4:
        train("--resume", stop=at)
    publish()
    assert f"It is at meta-iteration {at} of 12: what it takes to go on with it is shipped too" in capsys.readouterr().out
    assert sorted(contents(shipped)) == [f"{NAME}.json", f"{NAME}.pt", "unfinished", f"unfinished/{NAME}.pt"]
    check_unfinished(NAME, tmp_path / "checked")

    move(tmp_path, monkeypatch, "another machine")
    train("--resume", *(["--out", out] if out else []))
    run, told = Path(out or RUN), capsys.readouterr().out
    assert f"Going on from the training that the package ships, at meta-iteration {at}, in {run}.\n" in told
    assert f"Going on after meta-iteration {at}." in told and "After 12 meta-iterations" in told
    assert same(ending(run), straight)
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    publish(run=run)
    assert sorted(path.name for path in shipped.rglob("*") if path.is_file()) == [f"{NAME}.json", f"{NAME}.pt"]
    assert "shipped too" not in capsys.readouterr().out
    assert json.loads((shipped / f"{NAME}.json").read_text())["iterations_run"] == 12


def test_it_can_be_shipped_again_from_where_it_was_taken_to(tmp_path, monkeypatch, shipped):
    """Even before it is validated there: best theta and record came with it."""
    train(stop=7)
    publish()
    best = checkpoints.load(shipped / f"{NAME}.pt")
    move(tmp_path, monkeypatch, "another machine")
    train("--resume", stop=8)
    (RUN / PREVIOUS).unlink()
    publish()
    assert checkpoints.load(results.unfinished_file(NAME))["iteration"] == 8
    assert same(checkpoints.load(shipped / f"{NAME}.pt")["theta"], best["theta"])
    check_unfinished(NAME, tmp_path / "checked")


def test_a_folder_that_is_there_is_gone_on_with(shipped, capsys):
    """One's own training stays, and what holds something else is not touched; an empty folder is as good as none."""
    train(stop=5)
    publish()
    train("--resume", stop=6)
    assert "the package ships" not in capsys.readouterr().out
    Path("mine").mkdir()
    train("--resume", "--out", "mine", stop=6)
    assert "ships, at meta-iteration 5, in mine." in capsys.readouterr().out
    Path("notes").mkdir()
    Path("notes/a").write_text("mine")
    assert_refused([*TRAIN, "--resume", "--out", "notes"], "There is no file notes/checkpoint.pt: train first", capsys)


def test_a_link_to_a_larger_disk_stays_one(shipped, tmp_path):
    train(stop=5)
    publish()
    (tmp_path / "disk").mkdir()
    Path("link").symlink_to(tmp_path / "disk")
    train("--resume", "--out", "link", stop=6)
    assert Path("link").is_symlink() and (tmp_path / "disk" / CHECKPOINT).exists()


@pytest.mark.parametrize(
    "more, different",
    [("--alpha 0.05", "alpha is 0.01 in the checkpoint and 0.05 here"),
     ("--seed 0", "seed is 3 in the checkpoint and 0 here"),
     ("--precision bf16", "precision is float32 in the checkpoint and bf16 here")],
)  # fmt: skip
def test_options_that_contradict_are_refused_and_nothing_is_written(capsys, monkeypatch, more, different):
    monkeypatch.setattr(train_command, "check_precision", lambda *arguments: None)
    train("--seed", "3", "--out", "mine", stop=5)
    publish(run=Path("mine"))
    message = f"unfinished/{NAME}.pt was trained with other settings: {different}; go on with its own, or leave out --res"
    capsys.readouterr()
    assert_refused([*TRAIN, "--resume", *more.split()], message, capsys)
    train("--resume", "--seed", "3", stop=6)


def test_where_there_is_neither_it_says_how_to_begin(capsys):
    message = f"There is no training in {RUN}, and the package ships no unfinished one of {NAME}: train first, without"
    assert_refused([*TRAIN, "--resume"], message, capsys)


def test_nothing_to_do_is_said_of_the_shipped_one_too(capsys):
    train(stop=5)
    publish()
    train("--resume", "--out", "mine", "--iterations", "5")
    train("--resume", "--out", "mine", "--iterations", "5")
    assert "mine is already at meta-iteration 5, so there is nothing to do up to 5." in capsys.readouterr().out


def test_a_death_while_it_is_taken_leaves_nothing(monkeypatch):
    train("--out", "mine", stop=5)
    publish(run=Path("mine"))

    def die(path, write):
        real(path, write)
        raise KeyboardInterrupt

    real = unfinished.write_whole
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "write_whole", die)
        assert cli.main([*TRAIN, "--resume"]) == 130
    assert [path.name for path in Path("runs").iterdir()] == []
    train("--resume", stop=6)


# Publishing.


@pytest.mark.parametrize("ended", [9, None], ids=["unfinished", "weights alone"])
def test_the_same_training_is_not_replaced_by_less_of_it(tmp_path, shipped, capsys, ended):
    train("--out", "further", stop=ended)
    train("--out", "less", stop=5)
    train("--out", "other seed", "--seed", "1", stop=5)
    publish(run=Path("further"))
    capsys.readouterr()
    at = ended or 12
    message = (
        f"less is at meta-iteration 5, and the package ships the same training of {NAME} at {at}: go on with yours by "
        f"--resume, or replace what is shipped by --as {NAME}."
    )
    before = contents(shipped)
    assert_refused(["publish", "less"], message, capsys)
    assert contents(shipped) == before
    publish(run=Path("further"))  # as much of it
    publish("--as", "short", run=Path("less"))
    assert {key: value for key, value in contents(shipped).items() if "short" not in key} == before
    assert sorted(contents(shipped).keys() - before.keys()) == ["short.json", "short.pt"]
    publish("--as", NAME, run=Path("less"))
    assert checkpoints.load(results.unfinished_file(NAME))["iteration"] == 5
    publish(run=Path("further"))
    publish(run=Path("other seed"))  # another training
    check_unfinished(NAME, tmp_path / "checked")


def test_a_training_that_is_not_validated_yet_has_nothing_to_ship(shipped, capsys):
    train(stop=3)
    capsys.readouterr()
    assert_refused(["publish", str(RUN)], f"{RUN} has no best theta to ship before its first validation: go on", capsys)
    assert not shipped.exists()


def test_a_finished_training_needs_no_checkpoint_to_be_shipped(capsys):
    train()
    for path in RUN.glob("checkpoint*.pt"):
        path.unlink()
    publish()
    train("--out", "short", "--iterations", "5")
    for path in Path("short").glob("checkpoint*.pt"):
        path.unlink()
    capsys.readouterr()
    assert_refused(["publish", "short"], "There is no file short/checkpoint.pt", capsys)


def test_recipes_say_how_far_an_unfinished_one_is(capsys):
    train(stop=5)
    publish()
    capsys.readouterr()
    assert cli.main(["recipes"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines[NAME].endswith("12  yes, 5 of 12") and lines["sinusoid-10shot"].endswith("70,000  ")
