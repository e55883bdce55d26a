"""The command line, in this process: what it prints, writes and rejects."""

import json
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from maml_core import __main__ as cli
from maml_core.cli import commands
from maml_core.cli import training as train_command
from maml_core.cli.arguments import CHANGES, build_parser
from maml_core.recipes import RECIPES, Recipe
from maml_core.results import shipped as results
from maml_core.studies import STUDIES
from maml_core.tasks import Characters, registry
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.training import checkpoints, loop
from maml_core.training.interrupts import Stopped


@pytest.fixture(scope="session")
def few_glyphs() -> Characters:
    """As many characters as Omniglot has, but only 60 different ones: drawing them all takes seconds."""
    return Characters(draw_glyphs(60).repeat(28, 1, 1, 1)[:1623], "glyphs")


def replace_characters(monkeypatch, load) -> None:
    """Let every command load its characters with `load(source, download)`."""
    monkeypatch.setattr(registry, "load_characters", load)
    monkeypatch.setattr(commands, "load_characters", load)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, few_glyphs) -> Path:
    """An empty working directory, and characters without disk or network."""
    replace_characters(monkeypatch, lambda source, download=False: few_glyphs)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    """All files and folders below a folder, with the files' contents."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


TINY = ["--iterations", "3", "--meta-batch", "2"]


@pytest.fixture
def trained(folder, capsys) -> Path:
    """The folder of a tiny run on sine waves."""
    assert cli.main(["train", "sinusoid-5shot", *TINY]) == 0
    capsys.readouterr()
    return folder / "runs" / "sinusoid-5shot"


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_help_never_breaks_a_name(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        cli.main(["study", "--help"])
    words = {word.strip(",.|") for word in capsys.readouterr().out.split()}
    assert STUDIES.keys() <= words


def test_help_in_its_own_process(folder):
    done = subprocess.run([sys.executable, "-m", "maml_core", "--help"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0 and done.stderr == ""
    for command in ("train", "evaluate", "reproduce", "study", "publish", "recipes"):
        assert command in done.stdout
    assert contents(folder) == {}


def test_recipes_are_listed(capsys):
    assert cli.main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(RECIPES)
    (line,) = (line for line in lines if line.startswith("omniglot-20way-5shot "))
    assert line.split()[1:6] == ["conv", "0.1", "5", "16", "60,000"]
    (line,) = (line for line in lines if line.startswith("omniglot-20way-1shot-memory "))
    assert line.split()[1:6] == ["conv", "-", "1", "16", "60,000"]  # reading has no alpha


def test_train_never_overwrites_a_run(folder, capsys):
    for name in ("sinusoid-5shot", "sinusoid-5shot-2", "sinusoid-5shot-3"):
        before = contents(folder)
        assert cli.main(["train", "sinusoid-5shot", *TINY]) == 0
        out = capsys.readouterr().out
        assert f"into runs/{name}\n" in out and "Engine: eager" in out
        assert re.search(r"After 3 meta-iterations .*validation mse \d\.\d{3} ± \d\.\d{3}", out)
        assert f"saved in runs/{name}/weights.pt" in out
        after = contents(folder)
        assert {key: after[key] for key in before} == before
        for file in ("checkpoint.pt", "weights.pt", "history.json"):
            assert after[f"runs/{name}/{file}"]
    record = results.load_record(Path("runs/sinusoid-5shot/history.json"))
    assert record.iterations_run == 3 and record.recipe.meta_batch == 2 and record.data == "sinusoid"


def test_train_on_characters_then_evaluate(folder, capsys):
    train = ["train", "omniglot-5way-1shot", "--data", "glyphs", "--no-download", *TINY, "--out", "here"]
    assert cli.main(train) == 0
    out = capsys.readouterr().out
    assert "Training omniglot-5way-1shot on glyphs into here" in out
    assert re.search(r"validation accuracy \d+\.\d ± \d+\.\d%", out)
    evaluate = ["evaluate", "omniglot-5way-1shot", "--weights", "here/weights.pt", "--data", "glyphs", "--tasks", "4"]
    assert cli.main([*evaluate, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["data"] == "glyphs" and result["tasks"] == 4 and result["iterations"] == 3
    assert set(result["accuracy_by_step"]) == {"0", "1", "3"} and result["steps"] == 3
    assert result["accuracy"] == result["accuracy_by_step"]["3"] and 0 <= result["accuracy"] <= 1
    assert cli.main(evaluate) == 0
    out = capsys.readouterr().out
    assert f"accuracy after  3 steps: {100 * result['accuracy']:6.2f}%" in out and "95% interval" in out


# Fields of Recipe without an option: they define the recipe, or the length of its schedule (--iterations can be fewer).
NO_OPTION = {"name", "network", "distribution", "test_steps", "test_queries", "meta_iterations"}
OTHERS = {
    "ways": 7, "shots": 3, "queries": 9, "split": "alphabets", "rotations": False, "alpha": 0.05, "inner_steps": 2,
    "variant": "meta-sgd", "adapts": "head", "inner_loss": "mean", "first_order": True, "meta_batch": 3,
    "meta_learning_rate": 0.02, "schedule": "cosine", "clip": 5.0, "averaging": 0.9, "turned_classes": True, "jitter": True,
}  # fmt: skip


def options(values: dict[str, object]) -> list[str]:
    """The values as command-line options."""
    flags = {name: f"--{name.replace('_', '-')}" for name in values}
    return [
        flags[name].replace("--", "--no-" if value is False else "--")
        if isinstance(value, bool)
        else f"{flags[name]}={value}"
        for name, value in values.items()
    ]


def test_every_recipe_field_has_an_option():
    assert {field.name for field in fields(Recipe)} == NO_OPTION | OTHERS.keys()
    plain = RECIPES["omniglot-20way-1shot"]
    given = build_parser().parse_args(["train", plain.name, *options(OTHERS)])
    assert commands._apply_changes(plain, given) == replace(plain, **OTHERS)
    back = {name: not value for name, value in OTHERS.items() if isinstance(value, bool)}
    given = build_parser().parse_args(["train", plain.name, *options(back)])
    assert commands._apply_changes(replace(plain, **OTHERS), given) == replace(plain, **(OTHERS | back))
    assert commands._apply_changes(plain, build_parser().parse_args(["train", plain.name])) == plain


def test_evaluate_only_has_options_that_matter_at_test_time():
    """Options that only affect training are rejected."""
    plain = RECIPES["omniglot-20way-1shot"]
    test = {name: value for name, value in OTHERS.items() if name in CHANGES}
    given = build_parser().parse_args(["evaluate", plain.name, *options(test)])
    assert commands._apply_changes(plain, given) == replace(plain, **test)
    for option in options({name: value for name, value in OTHERS.items() if name not in test}):
        with pytest.raises(SystemExit):
            build_parser().parse_args(["evaluate", plain.name, option])


def test_changes_to_the_recipe_reach_the_tasks(folder, capsys, monkeypatch, few_glyphs):
    """--split and --no-rotations are recorded, and evaluation takes them from the weights."""
    parts = []
    split = Characters.split
    monkeypatch.setattr(Characters, "split", lambda self, part, by: parts.append((part, by)) or split(self, part, by))
    changes = ["--split", "alphabets", "--no-rotations", "--first-order"]
    command = ["train", "omniglot-5way-1shot-mlp", "--data", "glyphs", *TINY, *changes, "--out", "here"]
    assert cli.main(command) == 0
    recipe = json.loads((folder / "here" / "history.json").read_text())["recipe"]
    assert (recipe["split"], recipe["rotations"], recipe["first_order"]) == ("alphabets", False, True)
    evaluate = ["evaluate", "omniglot-5way-1shot-mlp", "--weights", "here/weights.pt", "--data", "glyphs", "--tasks", "2"]
    assert cli.main(evaluate) == 0
    assert parts == [("train", "alphabets"), ("validation", "alphabets"), ("test", "alphabets")]


@pytest.mark.parametrize("arguments, expected", [([], ("auto", True)), (["--no-download"], ("auto", False)),
                                                 (["--data", "omniglot"], ("omniglot", True))])  # fmt: skip
def test_data_options_reach_load_characters(monkeypatch, capsys, few_glyphs, arguments, expected):
    """--data and --no-download; a fallback to glyphs is reported on stderr."""
    calls = []
    replace_characters(monkeypatch, lambda source, download: calls.append((source, download)) or few_glyphs)
    assert cli.main(["evaluate", "omniglot-5way-1shot", "--tasks", "2", "--json", *arguments]) == 0
    assert calls == [expected]
    out, err = capsys.readouterr()
    assert json.loads(out)["tasks"] == 2
    assert ("made-up glyphs" in err) == (expected[0] == "auto")


def test_evaluate_prints_one_json_object(folder, capsys):
    command = ["evaluate", "sinusoid-5shot", "--json", "--tasks", "50"]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    result = json.loads(out)
    assert out.count("\n") == 1
    assert {"recipe", "mse", "ci95", "tasks", "data", "iterations", "seed"} <= result.keys()
    assert list(result["mse"]) == list(result["ci95"]) == ["0", "1", "5", "10"]
    assert result["recipe"] == "sinusoid-5shot" and result["tasks"] == 50 and result["data"] == "sinusoid"
    assert result["seed"] == 0 and result["mse"]["10"] < result["mse"]["1"] < result["mse"]["0"]
    assert cli.main([*command, "--seed", "0"]) == 0 and capsys.readouterr().out == out
    assert cli.main([*command, "--seed", "1"]) == 0 and json.loads(capsys.readouterr().out)["mse"] != result["mse"]
    assert contents(folder) == {}


def test_evaluate_the_weights_of_a_run(trained, capsys):
    for name in ("weights.pt", "checkpoint.pt"):
        command = ["evaluate", "sinusoid-5shot", "--weights", str(trained / name), "--tasks", "20"]
        assert cli.main([*command, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["iterations"] == 3
        assert cli.main(command) == 0
        assert f"after  1 steps: {result['mse']['1']:.3f} ± {result['ci95']['1']:.3f}" in capsys.readouterr().out


def test_evaluate_with_changes_to_the_recipe(capsys):
    """A larger K at test time helps, and alpha scales the first step."""
    errors = []
    for more in ([], ["--shots", "20"], ["--alpha", "0.001"]):
        assert cli.main(["evaluate", "sinusoid-5shot", "--tasks", "100", "--json", *more]) == 0
        errors.append(json.loads(capsys.readouterr().out)["mse"])
    assert errors[1]["10"] < errors[0]["10"] and errors[2]["0"] == errors[0]["0"]
    assert abs(errors[2]["1"] - errors[2]["0"]) < abs(errors[0]["1"] - errors[0]["0"])


def test_resume_continues_a_run(trained, capsys):
    assert cli.main(["train", "sinusoid-5shot", "--iterations", "5", "--meta-batch", "2", "--resume"]) == 0
    out = capsys.readouterr().out
    assert "Resuming after meta-iteration 3." in out and "After 5 meta-iterations" in out
    assert [path.name for path in trained.parent.iterdir()] == ["sinusoid-5shot"]
    assert checkpoints.load(trained / "checkpoint.pt")["iteration"] == 5


def test_out_with_another_run_is_rejected(trained, capsys):
    before = contents(trained)
    assert_rejected(["train", "sinusoid-10shot", *TINY, "--out", str(trained)], "already holds a training run", capsys)
    resume = ["--resume", "--iterations", "9", "--out", str(trained)]
    message = "is a training run of sinusoid-5shot, not of sinusoid-10shot"
    assert_rejected(["train", "sinusoid-10shot", *resume], message, capsys)
    assert contents(trained) == before


@pytest.fixture
def with_settings(folder, few_glyphs, capsys) -> list[str]:
    """The command that resumes a tiny run with non-default settings, except for --iterations."""
    train = ["train", "omniglot-5way-1shot-mlp", "--data", "glyphs", "--out", "here"]
    assert cli.main([*train, *TINY, "--alpha", "0.02", "--ways", "3", "--seed", "7", "--no-rotations"]) == 0
    capsys.readouterr()
    return ["train", "omniglot-5way-1shot-mlp", "--resume", "--out", "here"]


@pytest.mark.parametrize("more", ["", "--alpha 0.02 --seed 7", "--data auto --no-rotations", "--data glyphs"])
def test_resume_takes_settings_from_the_checkpoint(with_settings, capsys, monkeypatch, few_glyphs, more):
    sources = []
    replace_characters(monkeypatch, lambda source, download=False: sources.append(source) or few_glyphs)
    assert cli.main([*with_settings, "--iterations", "4", *more.split()]) == 0
    record = results.load_record(Path("here/history.json"))
    assert sources == ["glyphs"] and record.iterations_run == 4 and record.seed == 7 and record.data == "glyphs"
    recipe = record.recipe
    assert (recipe.alpha, recipe.ways, recipe.meta_batch, recipe.rotations) == (0.02, 3, 2, False)


@pytest.mark.parametrize(
    "more, different",
    [
        ("--alpha 0.05", "alpha is 0.02 in the checkpoint and 0.05 here;"),
        ("--seed 0", "seed is 7 in the checkpoint and 0 here;"),
        ("--data omniglot", "data is glyphs in the checkpoint and omniglot here;"),
        ("--clip 10", "clip is not set in the checkpoint and 10.0 here;"),
        ("--ways 5 --seed 7 --meta-batch 4", "ways is 3 in the checkpoint and 5 here, meta_batch is 2 in the checkpoint "
         "and 4 here;"),
    ],
)  # fmt: skip
def test_resume_names_settings_that_differ(with_settings, capsys, more, different):
    assert_rejected([*with_settings, "--iterations", "9", *more.split()], f"different settings: {different} resume", capsys)


def stop_at(iteration: int, monkeypatch) -> None:
    """Stop training in the n-th meta-iteration, like Ctrl-C."""

    def look(recipe, trainer, *arguments):
        if trainer.iteration == iteration:
            raise Stopped(signal.SIGINT)

    monkeypatch.setattr(loop, "check_finite", look)


@pytest.mark.parametrize(
    "own, kept",
    [
        ("--iterations 5", "--iterations 5"),
        ("--iterations 5 --alpha 0.02 --shots 7 --seed 3 --first-order --meta-batch 4 --clip 5", "--iterations 5"),
        ("--iterations 5 --engine eager --chunk-tasks 5 --validate-every 4 --no-download --data auto",
         "--iterations 5 --engine eager --chunk-tasks 5 --validate-every 4 --no-download"),
    ],
)  # fmt: skip
def test_printed_command_resumes_a_stopped_run(folder, capsys, monkeypatch, own, kept):
    """It can be copied into a shell even if the folder's name needs quoting."""
    out = folder / "my runs" / "it's one"
    straight = ["train", "sinusoid-5shot", *own.split(), "--out"]
    assert cli.main([*straight, "straight"]) == 0
    stop_at(2, monkeypatch)
    assert cli.main([*straight, str(out)]) == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    printed = capsys.readouterr().out.partition("Stopped at meta-iteration 2; resume with this command:\n  ")[2]
    python, *command = shlex.split(printed)
    assert python == sys.orig_argv[0]
    assert command == ["-m", "maml_core", "train", "sinusoid-5shot", *kept.split(), "--resume", "--out", str(out)]
    assert cli.main(command[2:]) == 0
    assert "After 5 meta-iterations" in capsys.readouterr().out
    ours, theirs = (checkpoints.load(path / "checkpoint.pt") for path in (out, folder / "straight"))
    assert ours["history"] == theirs["history"]
    assert all(torch.equal(ours["theta"][name], w) for name, w in theirs["theta"].items())


@pytest.mark.parametrize("iterations", [1, 2])
def test_resume_reports_that_there_is_nothing_to_do(trained, capsys, monkeypatch, iterations):
    """Nothing is changed, and no data is read."""
    replace_characters(monkeypatch, lambda *arguments, **settings: pytest.fail("no data should be read"))
    before = contents(trained)
    for end in (iterations, 3):
        assert cli.main(["train", "sinusoid-5shot", "--resume", "--iterations", str(end)]) == 0
        out = capsys.readouterr().out
        assert f"runs/sinusoid-5shot is already at meta-iteration 3, so there is nothing left to train up to {end}." in out
        assert re.search(r"last validation, after 3: validation mse \d\.\d+ ± .*; the best, after 3: .*weights.pt\.", out)
    assert contents(trained) == before


def test_resume_before_the_first_validation(folder, capsys, monkeypatch):
    stop_at(2, monkeypatch)
    assert cli.main(["train", "sinusoid-5shot", *TINY]) == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    resume = ["train", "sinusoid-5shot", "--resume", "--iterations"]
    assert cli.main([*resume, "1"]) == 0
    out = capsys.readouterr().out
    assert "already at meta-iteration 2, so there is nothing left to train up to 1. It has not been validated" in out
    assert cli.main([*resume, "2"]) == 0  # the end of the run, which is now validated
    assert re.search(r"After 2 meta-iterations .*validation mse", capsys.readouterr().out)
    assert cli.main([*resume, "2"]) == 0 and "last validation, after 2" in capsys.readouterr().out
    assert_rejected([*resume, "0"], "iterations must be at least 1", capsys)


def test_ctrl_c_prints_no_traceback(monkeypatch, capsys):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "train", interrupted)
    assert cli.main(["train", "sinusoid-5shot"]) == 130
    assert capsys.readouterr().err == ""


def test_publish_ships_a_run(trained, monkeypatch, capsys, tmp_path_factory):
    shipped = tmp_path_factory.mktemp("shipped")
    monkeypatch.setattr(results, "SHIPPED", shipped)
    assert cli.main(["publish", str(trained), "--as", "sinusoid-5shot"]) == 0
    assert "sinusoid-5shot on 600 tasks of sinusoid" in capsys.readouterr().out
    assert sorted(contents(shipped)) == [
        "sinusoid-5shot.json", "sinusoid-5shot.pt", "unfinished", "unfinished/sinusoid-5shot.pt",
    ]  # fmt: skip
    theta, record = results.load_shipped("sinusoid-5shot")
    best = checkpoints.load(trained / "weights.pt")
    assert all(torch.equal(theta[name], best["theta"][name]) for name in theta)
    assert record.best_iteration == best["iteration"] and record.evaluation["tasks"] == 600
    assert cli.main(["evaluate", "sinusoid-5shot", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mse"] == record.evaluation["mse"] and result["ci95"] == record.evaluation["ci95"]
    (shipped / "families").mkdir()
    assert cli.main(["publish", str(trained), "--as", "families/short"]) == 0
    assert results.load_shipped("families/short")[1] == record


def test_diverged_evaluation_is_valid_json(capsys):
    assert cli.main(["evaluate", "sinusoid-5shot", "--alpha", "1e20", "--tasks", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert result["mse"]["0"] > 0 and result["mse"]["10"] is None and result["ci95"]["10"] is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_weights_are_rejected(trained, capsys, monkeypatch, bad):
    """By `evaluate`, with --weights and shipped, by `publish` and by `train --resume`."""
    for name in ("weights.pt", "checkpoint.pt"):
        content = checkpoints.load(trained / name)
        content["theta"]["w2"][0, :3] = bad
        checkpoints.save(content, trained / name)
    message = "3 of 1,600 values of w2 are NaN or infinite"
    given = ["evaluate", "sinusoid-5shot", "--weights", str(trained / "weights.pt"), "--json"]
    assert_rejected(given, f"{trained / 'weights.pt'} cannot be used, since {message}", capsys)
    assert_rejected(["publish", str(trained)], message, capsys)
    assert_rejected(["train", "sinusoid-5shot", "--resume"], message, capsys)
    monkeypatch.setattr(results, "SHIPPED", trained)
    (trained / "weights.pt").rename(trained / "sinusoid-5shot.pt")
    assert_rejected(["evaluate", "sinusoid-5shot"], message, capsys)


def test_damaged_training_states_are_not_resumed(trained, capsys):
    """One has no count of Adam's steps, the other a single row of a moment."""
    path, resume = trained / "checkpoint.pt", ["train", "sinusoid-5shot", "--resume", "--iterations", "6"]
    state = checkpoints.load(path)
    checkpoints.save({key: value for key, value in state.items() if key != "adam_steps"}, path)
    assert_rejected(resume, f"{path.relative_to(Path.cwd())} has no adam_steps, without which training cannot", capsys)
    moment = state["first_moment"]
    checkpoints.save(state | {"first_moment": moment | {"w2": moment["w2"][:1]}}, path)
    assert_rejected(resume, "w2 in first_moment is [1, 40] there and [40, 40] here: it is damaged, use another", capsys)


def test_publish_checks_the_folder_before_it_measures(trained, monkeypatch, capsys):
    monkeypatch.setattr(results, "measure", lambda *arguments, **settings: pytest.fail("checked too late"))
    (trained / "a file").write_text("")
    monkeypatch.setattr(results, "SHIPPED", trained / "a file")
    message = "could not be written (Not a directory): publish from a writable checkout"
    assert_rejected(["publish", str(trained)], message, capsys)


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("package, is_own", [("maml_core", True), ("lib/site-packages/maml_core", False), ("", False)])
def test_commit_is_the_packages_own(folder, package, is_own):
    """In its own checkout, installed inside another project, and in a repository whose root is the package's folder."""
    assert commands._commit(folder) is None  # no checkout at all
    (folder / package).mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "one")
    assert commands._commit(folder / package) == (git(folder, "rev-parse", "--short", "HEAD") if is_own else None)


# Errors that a user can fix: one sentence, exit code 2, nothing written.


def assert_rejected(arguments: list[str], message: str, capsys) -> None:
    """Exit code 2 and one line on stderr that starts with the program's name and contains `message`."""
    before = contents(Path.cwd())
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("maml_core: ") and err.count("\n") == 1 and err.endswith("\n")
    assert message in err
    assert contents(Path.cwd()) == before


def bad(command: str, message: str):
    """A row of the table."""
    return pytest.param(command.split(), message, id=command)


OMNIGLOT = "train omniglot-5way-1shot --data glyphs --iterations 1 "
SINUSOID = "train sinusoid-5shot --iterations 1 "


@pytest.mark.parametrize(
    "arguments, message",
    [
        bad("train sinusoid-5shots", "did you mean sinusoid-5shot"),
        bad("evaluate omniglot-5way-1shots", "did you mean omniglot-5way-1shot"),
        bad("train xyz", "sinusoid-5shot"),
        bad(SINUSOID + "--alpha 0", "alpha must be greater than 0"),
        bad(SINUSOID + "--alpha -1", "alpha must be greater than 0"),
        bad(SINUSOID + "--alpha nan", "alpha must be greater than 0"),
        bad(SINUSOID + "--alpha inf", "alpha"),
        bad("evaluate sinusoid-5shot --alpha 0", "alpha must be greater than 0"),
        bad(SINUSOID + "--shots 0", "at least 1"),
        bad(SINUSOID + "--queries 0", "at least 1"),
        bad(SINUSOID + "--queries -2", "at least 1"),
        bad(SINUSOID + "--ways 7", "ways"),
        bad(OMNIGLOT + "--shots 15", "need 30 drawings"),
        bad(OMNIGLOT + "--queries 20", "need 21 drawings"),
        bad(OMNIGLOT + "--queries 0", "at least 1"),
        bad(OMNIGLOT + "--ways 5000", "5000 ways need 5000 characters"),
        bad(OMNIGLOT + "--ways 150", "150 ways need 150 characters, and there are 100"),
        bad(OMNIGLOT + "--ways 0", "at least 1"),
        bad(OMNIGLOT + "--ways -1", "at least 1"),
        bad(OMNIGLOT + "--alpha 0", "alpha must be greater than 0"),
        bad("evaluate omniglot-5way-1shot --data glyphs --ways 5000", "5000"),
        bad("evaluate omniglot-5way-1shot --data glyphs --ways -1", "ways"),
        bad("evaluate omniglot-5way-1shot --data glyphs --shots 15", "need 30 drawings"),
        bad(SINUSOID + "--device gpu", "cpu or cuda"),
        bad("evaluate sinusoid-5shot --device gpu", "cpu or cuda"),
        bad("evaluate sinusoid-5shot --device meta", "cpu or cuda"),
        bad("evaluate sinusoid-5shot --device cpu:x", "cpu or cuda"),
        bad("train sinusoid-5shot --iterations 0", "iterations must be at least 1"),
        bad("train sinusoid-5shot --iterations -4", "iterations must be at least 1"),
        bad(SINUSOID + "--validate-every 0", "validate"),
        bad(SINUSOID + "--validate-every -1", "validate"),
        bad(SINUSOID + "--precision tf32", "is for GPUs only: use float32"),
        bad(SINUSOID + "--engine graph", "add --device cuda, or choose --engine compiled"),
        bad(SINUSOID + "--chunk-tasks 0", "chunk_tasks must be at least 1"),
        bad(SINUSOID + "--meta-batch 0", "meta_batch must be at least 1"),
        bad(SINUSOID + "--clip 0", "clip must be greater than 0"),
        bad(SINUSOID + "--clip nan", "clip must be greater than 0"),
        bad(SINUSOID + "--variant imaml --inner-steps 0", "steps must be at least 1, not 0"),
        bad(SINUSOID + "--variant reptile --inner-steps 0", "steps must be at least 1, not 0"),
        bad("evaluate sinusoid-5shot --variant reptile --inner-steps 0", "steps must be at least 1, not 0"),
        bad(SINUSOID + "--shots 1000000", "points in a meta-iteration, and more than 1,000,000 would fill the memory"),
        bad("study order --iterations 0", "iterations must be at least 1"),
        bad("study order --seeds -1", "seed"),
        bad("reproduce --evaluate --seed -1", "seed"),
        bad("evaluate sinusoid-5shot --tasks 1", "--tasks must be at least 2"),
        bad("evaluate sinusoid-5shot --tasks -5", "--tasks must be at least 2"),
        bad("evaluate sinusoid-5shot --tasks 2 --seed -1", "seed"),
        bad("evaluate sinusoid-5shot --tasks 2 --seed 99999999999999999999", "seed"),
        bad(SINUSOID + "--seed 99999999999999999999", "seed"),
        bad("evaluate sinusoid-5shot --weights nothing.pt", "no file nothing.pt"),
        bad("train sinusoid-5shot --resume", "train first"),
        bad("publish nothing", "train first"),
    ],
)
def test_bad_input_is_rejected_in_one_sentence(arguments, message, capsys):
    assert_rejected(arguments, message, capsys)


@pytest.mark.parametrize("shortage", [
    lambda: torch.empty(10**15), lambda: bytearray(10**15), lambda: raising(torch.OutOfMemoryError("CUDA out of memory.")),
    lambda: raising(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
])  # fmt: skip
def test_only_a_lack_of_memory_is_called_that(shortage, monkeypatch, capsys):
    """Real ones, as far as a machine without a GPU has them; a bug whose message speaks of memory keeps its traceback."""
    monkeypatch.setattr(train_command, "train", lambda *arguments: shortage())
    assert_rejected(SINUSOID.split(), "There is not enough memory: lower --shots", capsys)
    shared = torch.zeros(1).expand(3)
    monkeypatch.setattr(train_command, "train", lambda *arguments: shared.add_(1))
    with pytest.raises(RuntimeError, match="single memory location"):
        cli.main(SINUSOID.split())


def raising(error: Exception) -> None:
    raise error


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["evaluate sinusoid-5shot", SINUSOID, OMNIGLOT])
def test_cuda_without_a_gpu_is_rejected(command, capsys):
    assert_rejected([*command.split(), "--device", "cuda"], "no CUDA GPU", capsys)


def test_missing_shipped_weights_are_named(monkeypatch, tmp_path_factory, capsys):
    empty = tmp_path_factory.mktemp("shipped")
    monkeypatch.setattr(results, "SHIPPED", empty)
    assert_rejected(["evaluate", "omniglot-20way-1shot"], "No weights are shipped for omniglot-20way-1shot", capsys)
    (empty / "sinusoid-5shot.pt").touch()
    assert_rejected(["evaluate", "omniglot-20way-1shot"], "(shipped: sinusoid-5shot): train it first", capsys)


def test_weights_that_do_not_fit_are_rejected(trained, capsys):
    weights = trained / "weights.pt"
    mismatched = ["evaluate", "omniglot-5way-1shot", "--weights", str(weights)]
    assert_rejected(mismatched, "a different network", capsys)
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert_rejected(["evaluate", "sinusoid-5shot", "--weights", str(weights)], "truncated", capsys)
    assert_rejected(["evaluate", "sinusoid-5shot", "--weights", str(trained)], "There is no file", capsys)


def test_ways_that_do_not_fit_the_shipped_weights_are_rejected(capsys):
    assert_rejected(["evaluate", "omniglot-5way-1shot", "--ways", "6", "--data", "glyphs"], "shipped", capsys)


@pytest.mark.parametrize("key", ["recipe", "iteration"])
def test_weights_without_their_record_are_rejected(trained, capsys, key):
    content = checkpoints.load(trained / "weights.pt")
    del content[key]
    torch.save(content, "bare.pt")
    assert_rejected(["evaluate", "sinusoid-5shot", "--weights", "bare.pt", "--tasks", "2"], "bare.pt", capsys)


@pytest.mark.parametrize("more", ["", "--ship"])
@pytest.mark.parametrize("study", ["order", "variants", "alpha-at-test", "error-against-steps", "multi-task", "navigation"])
def test_study_checks_its_folders_before_it_starts(folder, study, more, monkeypatch, capsys):
    """For every kind of study; both the package's folder and runs/ are blocked by a file."""
    (folder / "runs").write_text("")
    monkeypatch.setattr(commands, "STUDY_FOLDER", folder / "runs" / "shipped")
    replace_characters(monkeypatch, lambda *arguments: pytest.fail("checked too late"))
    remedy = "leave --ship out to write below runs/" if more else "choose another --out"
    assert_rejected(["study", study, *more.split()], f"could not be written (Not a directory): {remedy}", capsys)


def test_out_that_is_a_file_is_rejected(folder, capsys):
    (folder / "file").write_text("mine")
    assert_rejected([*SINUSOID.split(), "--out", "file"], "file", capsys)


def test_argparse_rejects_invalid_commands(capsys):
    for arguments in ([], ["fly"], ["train"], ["train", "sinusoid-5shot", "--iterations", "many"],
                      ["train", "sinusoid-5shot", "--data", "mnist"]):  # fmt: skip
        with pytest.raises(SystemExit) as refusal:
            cli.main(arguments)
        assert refusal.value.code == 2 and "usage: python -m maml_core" in capsys.readouterr().err
