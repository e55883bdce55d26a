"""Long runs can move between machines: shipped unfinished, resumed elsewhere, and shipped again."""

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
from maml_core.rl.training import FILE
from maml_core.training import checkpoints, loop
from maml_core.training.checkpoints import CHECKPOINT, PREVIOUS
from maml_core.training.interrupts import Stopped
from tests.cli.test_cli import assert_rejected, contents
from tests.kill_and_resume import ending, same
from tests.results.test_shipped import check_unfinished

NAME = "sinusoid-5shot"
TRAIN = ["train", NAME, "--engine", "eager", "--validate-every", "4"]
RUN = Path("runs") / NAME


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch) -> Path:
    """An empty package folder, a recipe of twelve meta-iterations, an instant evaluation, and a new machine."""
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
    """Run the command to its end, or stop it in the n-th meta-iteration like Ctrl-C."""

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
def test_run_finishes_on_another_machine_as_if_uninterrupted(tmp_path, monkeypatch, capsys, shipped, at, out):
    """Shipped, resumed elsewhere and finished, it equals the uninterrupted run to the last bit; no checkpoint is left."""
    train("--seed", "3", "--out", "straight")
    straight = ending(Path("straight"))
    train("--seed", "3", "--iterations", "4")
    if at > 4:
        train("--resume", stop=at)
    publish()
    assert f"The run is at meta-iteration {at} of 12: its checkpoint is shipped too" in capsys.readouterr().out
    assert sorted(contents(shipped)) == [f"{NAME}.json", f"{NAME}.pt", "unfinished", f"unfinished/{NAME}.pt"]
    check_unfinished(NAME, tmp_path / "checked")

    move(tmp_path, monkeypatch, "another machine")
    train("--resume", *(["--out", out] if out else []))
    run, printed = Path(out or RUN), capsys.readouterr().out
    assert f"Resuming the training run that ships with the package, at meta-iteration {at}, in {run}.\n" in printed
    assert f"Resuming after meta-iteration {at}." in printed and "After 12 meta-iterations" in printed
    assert same(ending(run), straight)
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    publish(run=run)
    assert sorted(path.name for path in shipped.rglob("*") if path.is_file()) == [f"{NAME}.json", f"{NAME}.pt"]
    assert "shipped too" not in capsys.readouterr().out
    assert json.loads((shipped / f"{NAME}.json").read_text())["iterations_run"] == 12


def test_run_can_be_shipped_again_from_another_machine(tmp_path, monkeypatch, shipped):
    """Even before it is validated there, since best theta and record came with it."""
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


def test_resume_prefers_an_existing_folder(shipped, capsys):
    """A user's own run is resumed, and a folder with other files is not touched; an empty folder counts as none."""
    train(stop=5)
    publish()
    train("--resume", stop=6)
    assert "ships with the package" not in capsys.readouterr().out
    Path("mine").mkdir()
    train("--resume", "--out", "mine", stop=6)
    assert "ships with the package, at meta-iteration 5, in mine." in capsys.readouterr().out
    Path("notes").mkdir()
    Path("notes/a").write_text("mine")
    assert_rejected([*TRAIN, "--resume", "--out", "notes"], "There is no file notes/checkpoint.pt: train first", capsys)


def test_out_can_be_a_link_to_another_disk(shipped, tmp_path):
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
def test_contradicting_options_are_rejected_and_nothing_is_written(capsys, monkeypatch, more, different):
    monkeypatch.setattr(train_command, "check_precision", lambda *arguments: None)
    train("--seed", "3", "--out", "mine", stop=5)
    publish(run=Path("mine"))
    message = f"{NAME}.pt was trained with different settings: {different}; resume with its own settings, or leave out --re"
    capsys.readouterr()
    assert_rejected([*TRAIN, "--resume", *more.split()], message, capsys)
    train("--resume", "--seed", "3", stop=6)


def test_resume_without_any_run_explains_how_to_start(capsys):
    message = f"There is no training run in {RUN}, and the package ships no checkpoint of {NAME}: train first, without"
    assert_rejected([*TRAIN, "--resume"], message, capsys)


def test_nothing_to_do_is_reported_for_a_shipped_run_too(capsys):
    train(stop=5)
    publish()
    train("--resume", "--out", "mine", "--iterations", "5")
    train("--resume", "--out", "mine", "--iterations", "5")
    assert "mine is already at meta-iteration 5, so there is nothing left to train up to 5." in capsys.readouterr().out


def test_interrupt_while_copying_a_run_leaves_nothing(monkeypatch):
    train("--out", "mine", stop=5)
    publish(run=Path("mine"))

    def die(path, content):
        real(path, content)
        raise KeyboardInterrupt

    real = unfinished.write_bytes_atomically
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "write_bytes_atomically", die)
        assert cli.main([*TRAIN, "--resume"]) == 130
    assert [path.name for path in Path("runs").iterdir()] == []
    train("--resume", stop=6)


# Publishing.


@pytest.mark.parametrize(
    "changed, named",
    [("--alpha 0.02 --meta-batch 2", "alpha is 0.02, meta_batch is 2"), ("", "data is glyphs")],
)
def test_a_run_that_differs_from_its_recipe_does_not_ship_under_its_name(shipped, capsys, changed, named):
    """It would stand beside the paper's number. By name it ships, and then keeps what differs on record."""
    train("--out", "mine", *changed.split())
    if not changed:
        for name in ("weights.pt", "checkpoint.pt"):
            checkpoints.save(checkpoints.load(Path("mine") / name) | {"data": "glyphs"}, Path("mine") / name)
        history = Path("mine/history.json")
        history.write_text(json.dumps(json.loads(history.read_text()) | {"data": "glyphs"}))
    capsys.readouterr()
    message = (
        f"mine is not the recipe {NAME}, with which tables would confuse it ({named}): give it a name of its own with "
        f"--as, such as {NAME}-mine, or replace the recipe's weights with --as {NAME}."
    )
    assert_rejected(["publish", "mine"], message, capsys)
    assert contents(shipped) == {}
    publish("--as", "other", run=Path("mine"))
    publish("--as", NAME, run=Path("mine"))
    assert results.load_shipped(NAME)[1].recipe.alpha == (0.02 if changed else 0.01)


@pytest.mark.parametrize("ended", [9, None], ids=["unfinished", "weights alone"])
def test_shipped_run_is_not_replaced_by_a_shorter_one(tmp_path, shipped, capsys, ended):
    train("--out", "further", stop=ended)
    train("--out", "less", stop=5)
    train("--out", "other seed", "--seed", "1", stop=5)
    publish(run=Path("further"))
    capsys.readouterr()
    at = ended or 12
    message = (
        f"less is at meta-iteration 5, and the package ships the same run of {NAME} at {at}: continue yours with "
        f"--resume, or replace the shipped one with --as {NAME}."
    )
    before = contents(shipped)
    assert_rejected(["publish", "less"], message, capsys)
    assert contents(shipped) == before
    publish(run=Path("further"))  # equally long
    publish("--as", "short", run=Path("less"))
    assert {key: value for key, value in contents(shipped).items() if "short" not in key} == before
    assert sorted(contents(shipped).keys() - before.keys()) == ["short.json", "short.pt"]
    publish("--as", NAME, run=Path("less"))
    assert checkpoints.load(results.unfinished_file(NAME))["iteration"] == 5
    publish(run=Path("further"))
    publish(run=Path("other seed"))  # a different run
    check_unfinished(NAME, tmp_path / "checked")


@pytest.mark.parametrize(
    "name, message",
    [*((name, "is no name of letters, digits, dots, hyphens and underscores") for name in (
        "", ".", "..", ".hidden", "a/b", "a/../../x", "../x", "/x", "a\\b", "families/", "families/../x", "families/.x",
        "-x", "studies/order", "navigation/maml-20", "a b",
     )),
     ("sinusoid-10shot", f"--as sinusoid-10shot is the name of another recipe, and this is a run of {NAME}"),
     ("families/omniglot-5way-1shot", "is the name of another recipe"),
     ("Sinusoid-10shot", "is the name of another recipe"),
     ("gpu_check", "--as gpu_check would replace gpu_check.json of the package, which is no training run")],
)  # fmt: skip
def test_names_that_would_replace_something_else_are_rejected(shipped, capsys, monkeypatch, name, message):
    train("--iterations", "4")
    publish()
    (shipped / "gpu_check.json").write_text("{}")
    before = contents(shipped.parent)
    monkeypatch.setattr(results, "measure", lambda *arguments, **settings: pytest.fail("checked too late"))
    capsys.readouterr()
    assert_rejected(["publish", str(RUN), f"--as={name}"], message, capsys)
    assert contents(shipped.parent) == before


def test_a_policy_has_its_own_name(capsys):
    Path("policy").mkdir()
    (Path("policy") / FILE).touch()
    assert_rejected(["publish", "policy", "--as", "mine"], "policy holds a policy, which ships under its own name", capsys)


@pytest.mark.parametrize("damage, message", [
    (lambda text: text[: len(text) // 2], "cannot be read as JSON (JSONDecodeError), so it is damaged: use another copy"),
    (lambda text: "", "cannot be read as JSON (JSONDecodeError), so it is damaged: use another copy, or train again"),
    (lambda text: "[]", "is not the record of a training run: use the one that `train` wrote"),
    (None, "the record of a training run: copy it there, or train again"),
])  # fmt: skip
def test_a_damaged_history_is_not_published(shipped, capsys, damage, message):
    train("--iterations", "4")
    history = RUN / "history.json"
    history.write_text(damage(history.read_text())) if damage else history.unlink()
    capsys.readouterr()
    assert_rejected(["publish", str(RUN)], f"{history}{' ' if damage else ', '}{message}", capsys)
    assert not shipped.exists()


def test_run_without_a_validation_has_nothing_to_ship(shipped, capsys):
    train(stop=3)
    capsys.readouterr()
    assert_rejected(["publish", str(RUN)], f"{RUN} has no best theta to ship before its first validation: continue", capsys)
    assert not shipped.exists()


def test_finished_run_needs_no_checkpoint_to_be_shipped(capsys):
    train()
    for path in RUN.glob("checkpoint*.pt"):
        path.unlink()
    publish()
    train("--out", "short", "--iterations", "5")
    for path in Path("short").glob("checkpoint*.pt"):
        path.unlink()
    capsys.readouterr()
    assert_rejected(["publish", "short"], "There is no file short/checkpoint.pt", capsys)


def test_recipes_lists_the_progress_of_unfinished_runs(capsys):
    train(stop=5)
    publish()
    capsys.readouterr()
    assert cli.main(["recipes"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines[NAME].endswith("12  yes, 5 of 12") and lines["sinusoid-10shot"].endswith("70,000  ")


def test_recipes_tells_an_unfinished_run_without_checkpoint_from_a_finished_one(tmp_path, monkeypatch, capsys):
    """And `train --resume`, on another machine, says the same."""

    def listed() -> str:
        capsys.readouterr()
        assert cli.main(["recipes"]) == 0
        (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{NAME} "))
        return line.partition(" 12  ")[2]

    train(stop=5)
    publish()
    results.unfinished_file(NAME).unlink()
    assert listed() == "yes, 5 of 12, without checkpoint"
    move(tmp_path, monkeypatch, "another machine")
    assert_rejected([*TRAIN, "--resume"], f"the package ships no checkpoint of {NAME}", capsys)
    train()
    publish()
    assert listed() == "yes"
