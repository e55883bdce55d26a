"""Meta-training, evaluation and checkpoints."""

import copy
import itertools
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maml_core import __main__ as cli
from maml_core import networks, reference
from maml_core.engine import MetaTrainer
from maml_core.engine.divergence import Diverged
from maml_core.evaluation import evaluate, mean_and_ci95, scores_by_step
from maml_core.maml import Learner, meta_objective
from maml_core.recipes import find_recipe
from maml_core.tasks import CharacterTasks, SinusoidTasks
from maml_core.training import Settings, checkpoints, loop, train
from maml_core.util import atomic_files
from tests.small import SMALL, make_trainer, small_train

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_identical(ours, theirs) -> None:
    """Equal to the last bit: nested dictionaries, lists, tensors and plain values."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_identical(ours[key], theirs[key])
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            assert_identical(a, b)
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    else:
        assert ours == theirs


def training_state(content: dict) -> dict:
    """The state that determines how a run continues."""
    return {key: content[key] for key in ("theta", "first_moment", "second_moment", "adam_steps", "generator", "iteration")}


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, with their contents."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# The meta-iteration.


def test_training_lowers_the_loss_on_new_waves():
    learner = Learner(networks.sinusoid_network(), 0.01)
    trainer = make_trainer(learner, SinusoidTasks(10), seeded(0), meta_batch=10, learning_rate=1e-2)
    new_waves = SinusoidTasks(10).sample(200, seeded(1))
    before = meta_objective(learner, trainer.theta, new_waves).item()
    losses = [trainer.step() for _ in range(300)]
    after = meta_objective(learner, trainer.theta, new_waves).item()
    assert after < 0.6 * before
    assert all(loss.shape == () and loss > 0 for loss in losses) and trainer.iteration == 300


def test_meta_iterations_match_adams_formulas():
    """Adam's first two steps by the formulas of its paper, from the reference's gradient."""
    learner = Learner(networks.sinusoid_network(), 0.01)
    trainer = make_trainer(learner, SinusoidTasks(5), seeded(3), meta_batch=6, learning_rate=2e-3)
    generator = seeded(0)
    generator.set_state(trainer.generator.get_state())
    loss = reference.mean_squared_error(reference.sinusoid_forward)
    first, second = ({name: torch.zeros_like(w) for name, w in trainer.theta.items()} for _ in range(2))
    for t in (1, 2):
        theta = {name: w.clone() for name, w in trainer.theta.items()}
        episodes = SinusoidTasks(5).sample(6, generator)
        gradient = reference.meta_gradient(loss, loss, theta, episodes, 0.01)
        torch.testing.assert_close(trainer.step(), meta_objective(learner, theta, episodes))
        for name, g in gradient.items():
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            direction = first[name] / (1 - 0.9**t) / ((second[name] / (1 - 0.999**t)).sqrt() + 1e-8)
            torch.testing.assert_close(trainer.theta[name], theta[name] - 2e-3 * direction, rtol=0, atol=2e-5)
            assert not torch.equal(trainer.theta[name], theta[name])


def test_state_can_be_loaded_into_another_trainer():
    learner = Learner(networks.sinusoid_network(), 0.01)
    first, second = (MetaTrainer(learner, SinusoidTasks(5), seeded(seed), 4) for seed in (0, 9))
    for _ in range(3):
        first.step()
    second.load_state(copy.deepcopy(first.state()))
    for _ in range(3):
        assert torch.equal(first.step(), second.step())
    assert_identical(second.state(), first.state())


def test_state_is_a_snapshot():
    """Loading it back undoes later steps, and two trainers never share Adam's moments."""
    learner = Learner(networks.sinusoid_network(), 0.01)
    trainer = MetaTrainer(learner, SinusoidTasks(5), seeded(0), 4)
    trainer.step()
    state = trainer.state()
    first = [trainer.step() for _ in range(2)]
    trainer.load_state(state)
    assert_identical([trainer.step() for _ in range(2)], first)


def test_a_state_and_a_theta_that_are_kept_stay_as_they_are():
    """Whatever the trainer does next, and even if its tensors are overwritten, as a CUDA graph does."""
    trainer = MetaTrainer(Learner(networks.sinusoid_network(), 0.01), SinusoidTasks(5), seeded(0), 4)
    start = trainer.state()
    kept = copy.deepcopy(start)
    trainer.run(2)
    trained = trainer.theta
    copied = copy.deepcopy(trained)
    trainer.load_state(start)
    assert_identical(trained, copied)
    trainer.advance_in_place()
    assert_identical(start, kept)


def test_no_bad_values_are_saved_where_not_every_loss_is_checked(tmp_path, monkeypatch):
    """As on a GPU, which is asked every 100 meta-iterations only."""
    monkeypatch.setattr(loop, "check_finite", lambda *arguments: None)
    small_train(tmp_path, 20)
    before = contents(tmp_path)
    with pytest.raises(Diverged, match="no longer finite at meta-iteration 30.*good checkpoint, from meta-iteration 20"):
        monkeypatch.setattr(SinusoidTasks, "sample", not_finite(SinusoidTasks.sample))
        small_train(tmp_path, 30, resume=True)
    assert contents(tmp_path) == before


def not_finite(sample):
    def sampled(self, tasks, generator):
        episodes = sample(self, tasks, generator)
        episodes.query_y.fill_(torch.nan)
        return episodes

    return sampled


def test_a_schedule_is_not_trained_past_its_end(tmp_path):
    """Where the learning rate is 0, meta-iterations would do nothing, and the record would count them."""
    falling = replace(SMALL, schedule="cosine", meta_iterations=20)
    with pytest.raises(ValueError, match="learning rate of .* is 0 from meta-iteration 20 on: request at most"):
        small_train(tmp_path, 21, recipe=falling)
    assert not list(tmp_path.iterdir())
    small_train(tmp_path, 20, recipe=falling)


# Training runs.


def test_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    straight = small_train(tmp_path / "straight", 40)
    small_train(tmp_path / "parts", 20)
    resumed = small_train(tmp_path / "parts", 40, resume=True)
    assert_identical(training_state(resumed), training_state(straight))
    assert_identical(resumed["history"], straight["history"])
    assert [row["iteration"] for row in resumed["history"]] == [10, 20, 30, 40]
    assert_identical(resumed["best"], straight["best"])
    for name in ("checkpoint.pt", "weights.pt"):
        ours, theirs = (checkpoints.load(tmp_path / folder / name) for folder in ("parts", "straight"))
        assert_identical(ours["theta"], theirs["theta"])
    assert sorted(contents(tmp_path / "parts")) == ["checkpoint.previous.pt", "checkpoint.pt", "history.json", "weights.pt"]


def test_run_from_a_gpu_continues_on_the_cpu(tmp_path):
    """With tasks drawn anew: a GPU's generator has a state of 16 bytes, which a CPU's cannot take."""
    small_train(tmp_path / "parts", 20)
    path, messages = tmp_path / "parts" / "checkpoint.pt", []
    checkpoint = checkpoints.load(path)
    checkpoints.save(checkpoint | {"device": "cuda", "generator": torch.zeros(16, dtype=torch.uint8)}, path)
    resumed = small_train(tmp_path / "parts", 40, resume=True, log=messages.append)
    assert [row["iteration"] for row in resumed["history"]] == [10, 20, 30, 40] and resumed["device"] == "cuda, cpu"
    assert "The run comes from cuda, whose random numbers cpu cannot continue: tasks are drawn anew." in messages
    again = small_train(tmp_path / "parts", 50, resume=True, log=messages.append)
    assert again["device"] == "cuda, cpu" and sum("comes from" in text for text in messages) == 1


def test_a_precision_that_the_device_does_not_support_continues_in_float32(tmp_path, capsys):
    """So that the tf32 runs from a GPU that ship with the package can be continued on any machine, from either door."""
    metadata, messages = {"data": "sinusoid"}, []
    small_train(tmp_path, 20, metadata=metadata)
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(checkpoints.load(path) | {"precision": "tf32"}, path)
    resumed = small_train(tmp_path, 40, resume=True, metadata=metadata, log=messages.append)
    assert resumed["precision"] == "tf32, float32"
    assert "The run was trained in tf32 and continues in float32." in messages
    command = ["train", "sinusoid-5shot", "--resume", "--out", str(tmp_path), "--iterations"]
    assert cli.main([*command, "41"]) == cli.main([*command, "42", "--precision", "float32"]) == 0
    assert checkpoints.load(path)["precision"] == "tf32, float32" and "continues in" not in capsys.readouterr().out
    assert cli.main([*command, "43", "--precision", "tf32"]) == 2
    assert "tf32 is for GPUs only: use float32" in capsys.readouterr().err


def test_different_seeds_give_different_weights(tmp_path):
    """Otherwise the equalities above would be trivial."""
    one, other = (small_train(tmp_path / str(seed), 10, seed=seed) for seed in (0, 1))
    assert not torch.equal(one["theta"]["w1"], other["theta"]["w1"])


class Interrupting:
    """Sine waves until Ctrl-C is pressed in the n-th draw, before or after the generator has been used."""

    def __init__(self, at: int, after: bool) -> None:
        self.tasks, self.left, self.after = SMALL.build_tasks(), at, after

    def sample(self, tasks, generator):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KeyboardInterrupt
        episodes = self.tasks.sample(tasks, generator)
        if self.left == 0:
            raise KeyboardInterrupt
        return episodes


@pytest.mark.parametrize("after", [False, True], ids=["before drawing", "after drawing"])
def test_interrupted_run_resumes_where_it_stopped(tmp_path, after):
    straight = small_train(tmp_path / "straight", 30)
    messages = []
    with pytest.raises(KeyboardInterrupt):
        small_train(tmp_path / "stopped", 30, Interrupting(14, after), log=messages.append)
    assert "Stopped at meta-iteration 13" in messages[-1] and "--resume" in messages[-1]
    assert checkpoints.load(tmp_path / "stopped" / "checkpoint.pt")["iteration"] == 13
    resumed = small_train(tmp_path / "stopped", 30, resume=True)
    assert_identical(training_state(resumed), training_state(straight))


def test_interrupt_in_the_first_step_leaves_a_checkpoint(tmp_path):
    """As during the minute that compilation takes."""
    with pytest.raises(KeyboardInterrupt):
        small_train(tmp_path, 20, Interrupting(1, False))
    assert_identical(
        training_state(small_train(tmp_path, 20, resume=True)), training_state(small_train(tmp_path / "straight", 20))
    )


@pytest.mark.parametrize(
    "name, scores, best", [("sinusoid-5shot", (3.0, 1.0, 2.0), 2), ("omniglot-5way-1shot-mlp", (0.2, 0.9, 0.5), 2)]
)
def test_weights_are_the_best_on_validation(tmp_path, monkeypatch, characters, name, scores, best):
    """Lowest for errors, highest for accuracies; weights.pt has theta as it was then, not the final one."""
    recipe = replace(find_recipe(name), meta_batch=2)
    tasks = recipe.build_tasks(characters)

    def scripted(iterations: int) -> dict:
        left = iter(scores)
        monkeypatch.setattr(loop, "validation_score", lambda *arguments: (next(left), 0.1))
        out = tmp_path / str(iterations)
        return train(recipe, tasks, tasks, out, Settings(iterations=iterations, validate_every=1, log=lambda text: None))

    full, until_best = scripted(3), scripted(best)
    kept = checkpoints.load(tmp_path / "3" / "weights.pt")
    assert kept["iteration"] == full["best"]["iteration"] == best
    assert kept["best"]["validation"] == scores[best - 1]
    assert_identical(kept["theta"], until_best["theta"])
    assert not torch.equal(kept["theta"]["w1"], full["theta"]["w1"])


def test_occupied_folder_is_rejected_and_left_alone(tmp_path):
    small_train(tmp_path, 10)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="already holds a training run.*--resume"):
        small_train(tmp_path, 10, seed=1)
    assert contents(tmp_path) == before


def test_resuming_with_different_settings_is_rejected(tmp_path):
    small_train(tmp_path, 10)
    before = contents(tmp_path)
    different = "shots is 5 in the checkpoint and 7 here, alpha is 0.01 in the checkpoint and 0.02 here; resume"
    with pytest.raises(ValueError, match=f"different settings: {different}"):
        small_train(tmp_path, 20, recipe=replace(SMALL, alpha=0.02, shots=7), resume=True)
    with pytest.raises(ValueError, match="is a training run of sinusoid-5shot, not of mine: name that recipe"):
        small_train(tmp_path, 20, recipe=replace(SMALL, name="mine", alpha=0.02), resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "change, different",
    [({"seed": 5}, "seed is 0 in the checkpoint and 5 here"),
     ({"metadata": {"data": "glyphs"}}, "data is omniglot in the checkpoint and glyphs here"),
     ({"metadata": {}}, "data is omniglot in the checkpoint and not set here")],
)  # fmt: skip
def test_resuming_with_another_seed_or_other_data_is_rejected(tmp_path, change, different):
    """Otherwise history.json would name a seed, or data, that the run did not start with."""
    small_train(tmp_path, 10, metadata={"data": "omniglot"})
    with pytest.raises(ValueError, match=different):
        small_train(tmp_path, 20, resume=True, **({"metadata": {"data": "omniglot"}} | change))


def test_resuming_from_weights_alone_is_rejected(tmp_path):
    small_train(tmp_path, 10)
    shutil.copy(tmp_path / "weights.pt", tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="holds weights but no training run to resume"):
        small_train(tmp_path, 20, resume=True)


def test_resuming_without_a_run_is_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match="train first"):
        small_train(tmp_path / "nothing", 10, resume=True)
    assert contents(tmp_path) == {}


def test_zero_iterations_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        small_train(tmp_path, 0)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("validate_every", [0, -1])
def test_invalid_validation_intervals_are_rejected(tmp_path, validate_every):
    with pytest.raises(ValueError, match="validate_every"):
        small_train(tmp_path, 2, validate_every=validate_every)


def test_metadata_is_saved(tmp_path):
    small_train(tmp_path, 10, seed=4, metadata={"data": "sinusoid", "commit": "abc"})
    kept = checkpoints.load(tmp_path / "weights.pt")
    assert kept["seed"] == 4 and kept["data"] == "sinusoid" and kept["commit"] == "abc"
    assert kept["recipe"]["name"] == SMALL.name and kept["device"] == "cpu"


# Checkpoints.


def test_all_files_of_a_run_tell_the_same_time(tmp_path, monkeypatch):
    """However long it takes to write them."""
    clock = itertools.count(0.0, 0.3)
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    returned = small_train(tmp_path, 10)["wall_seconds"]
    files = [checkpoints.load(tmp_path / name) for name in ("checkpoint.pt", "weights.pt")]
    files.append(json.loads((tmp_path / "history.json").read_text()))
    assert [file["wall_seconds"] for file in files] == [returned] * 3


@pytest.fixture
def saved(tmp_path) -> Path:
    """A weights.pt that `train` wrote."""
    small_train(tmp_path / "run", 2)
    return tmp_path / "run" / "weights.pt"


def test_truncated_and_foreign_files_are_rejected(saved):
    whole = saved.read_bytes()
    for content in (b"", b"some text\n", whole[:10], whole[: len(whole) // 2], whole[:-1], b"PK\x03\x04" + bytes(99)):
        saved.write_bytes(content)
        with pytest.raises(ValueError, match="Train again") as refusal:
            checkpoints.load(saved)
        assert str(saved) in str(refusal.value)


@pytest.mark.parametrize("content", [[1, 2], {"weights": 1}, torch.zeros(3)], ids=["list", "dictionary", "tensor"])
def test_files_without_theta_are_rejected(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="choose a file that `train` wrote"):
        checkpoints.load(tmp_path / "other.pt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["b1", "w3"])
def test_non_finite_weights_are_rejected_by_name(saved, bad, name):
    content = checkpoints.load(saved)
    content["theta"][name].flatten()[0] = bad
    checkpoints.save(content, saved)
    size = content["theta"][name].numel()
    with pytest.raises(ValueError, match=f"1 of {size} values of {name} are NaN or infinite: train again") as refusal:
        checkpoints.load(saved)
    assert str(saved) in str(refusal.value)


def test_json_is_valid_even_if_numbers_are_not_finite(tmp_path):
    """They become null at any depth, which Python reads as None; everything else is unchanged."""
    nan, inf = float("nan"), float("inf")
    content = {"mse": {"0": 1.5, "1": nan}, "rows": [{"ci95": inf}, (-inf, 2)], "name": "NaN", "none": None, "yes": True}
    checkpoints.save(content, tmp_path / "story.json")
    for text in (checkpoints.as_json(content), (tmp_path / "story.json").read_text()):
        found = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
        assert found == {"mse": {"0": 1.5, "1": None}, "rows": [{"ci95": None}, [None, 2]], "name": "NaN", "none": None,
                         "yes": True}  # fmt: skip


UNWRITABLE = ["file/run", "file/deep/run", "dangling/run"]


@pytest.mark.parametrize("place", [*UNWRITABLE, pytest.param("/proc/run", marks=NEEDS_PROC)])
def test_unwritable_folder_is_rejected_before_training(tmp_path, place):
    """Below a file, behind a dangling link, and where not even root can write; no task is sampled."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "unmounted")
    before = contents(tmp_path)
    with pytest.raises(OSError, match="could not be written .*: choose another --out") as refusal:
        small_train(tmp_path / place, 10, tasks=Interrupting(1, False))
    assert place in str(refusal.value) and contents(tmp_path) == before


def test_check_writable_leaves_no_files(tmp_path):
    atomic_files.check_writable(tmp_path / "new" / "folder" / "file", "go elsewhere")
    (tmp_path / "old").write_text("mine")
    atomic_files.check_writable(tmp_path / "old", "go elsewhere")
    assert contents(tmp_path) == {"old": b"mine"} and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OSError, match="it is a folder.*: go elsewhere"):
        atomic_files.check_writable(tmp_path, "go elsewhere")


def test_missing_file_is_rejected(tmp_path):
    for path in (tmp_path / "nothing.pt", tmp_path):
        with pytest.raises(FileNotFoundError, match="train first"):
            checkpoints.load(path)


class Malicious:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return open, (str(self.victim), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_loading_a_checkpoint_runs_no_code(tmp_path, write):
    victim, file = tmp_path / "victim", tmp_path / "weights.pt"
    with file.open("wb") as out:
        write({"theta": Malicious(victim)}, out)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        checkpoints.load(file)
    assert not victim.exists()
    with file.open("rb") as content:  # the trap works: loading without weights_only springs it
        pickle.load(content) if write is pickle.dump else torch.load(content, weights_only=False)
    assert victim.exists()


def test_weights_of_a_different_network_are_rejected(saved):
    theta = checkpoints.load(saved)["theta"]
    network = networks.sinusoid_network()
    assert checkpoints.check_weights(theta, network, saved) is theta
    wrong = {"more": theta | {"w4": torch.zeros(1)}, "shape": theta | {"w2": torch.zeros(40, 41)}}
    wrong["fewer"] = {name: w for name, w in theta.items() if name != "b3"}
    for kind, name in (("more", "w4"), ("shape", "w2"), ("fewer", "b3")):
        with pytest.raises(ValueError, match=f"a different network: {name} is .*Name the recipe") as refusal:
            checkpoints.check_weights(wrong[kind], network, saved)
        assert str(saved) in str(refusal.value)
    with pytest.raises(ValueError, match="a different network"):
        checkpoints.check_weights(theta, networks.conv_network(5), saved)


def test_failed_write_leaves_the_old_file(saved, monkeypatch):
    """The disk fills up after a few bytes: the old content stays, and no partial file does."""
    before = contents(saved.parent)

    def fail(content, file):
        file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save({"theta": {}}, saved)
    assert contents(saved.parent) == before


@pytest.mark.parametrize("name", ["history.json", "checkpoint.pt"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_flush_leaves_the_old_file(saved, monkeypatch, name, error):
    before = contents(saved.parent)

    def fail(descriptor):
        raise error

    monkeypatch.setattr(atomic_files.os, "fsync", fail)
    with pytest.raises(error):
        checkpoints.save({"theta": {}}, saved.with_name(name))
    assert contents(saved.parent) == before


# Evaluation.


def test_mean_and_interval_match_the_formula():
    scores = np.random.default_rng(0).random(600).astype(np.float32)
    mean, half = mean_and_ci95(torch.from_numpy(scores))
    precise = scores.astype(np.float64)
    assert mean == pytest.approx(precise.mean(), rel=1e-12)
    deviation = np.sqrt(((precise - precise.mean()) ** 2).sum() / 600)
    assert half == pytest.approx(1.96 * deviation / np.sqrt(600), rel=1e-12)
    assert mean_and_ci95(torch.tensor([0.0, 1.0])) == pytest.approx((0.5, 1.96 * 0.5 / 2**0.5))


@pytest.mark.parametrize("kind", ["sinusoid", "mlp"])
def test_scores_match_the_reference_task_by_task(kind, characters, generator):
    if kind == "sinusoid":
        network, forward, alpha, tasks = networks.sinusoid_network(), reference.sinusoid_forward, 0.01, SinusoidTasks(5, 8)
        loss = reference.mean_squared_error(forward)
    else:
        tasks = CharacterTasks(characters.images[:50], 5, 2, 4)
        network, forward, alpha = networks.mlp_network(5), reference.mlp_forward, 0.1
        loss = reference.sum_over_shots(forward, 5)
    episodes = tasks.sample(4, generator).to(dtype=torch.float64)
    theta = {name: w.double() for name, w in network.init(generator).items()}
    theta = {name: w + 0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in theta.items()}
    ours = scores_by_step(Learner(network, alpha), theta, episodes, (3, 0, 1))
    assert set(ours) == {0, 1, 3}
    theta = {name: w.requires_grad_() for name, w in theta.items()}
    for steps, scores in ours.items():
        for task, score in zip(episodes, scores, strict=True):
            phi = reference.adapt(loss, theta, task.support_x, task.support_y, alpha, steps, network.frozen)
            output = forward(phi, task.query_x).detach().numpy()
            if kind == "sinusoid":
                expected = ((output - task.query_y.numpy()) ** 2).mean()
            else:
                expected = (output.argmax(1) == task.query_y.numpy()).mean()
            assert score.item() == pytest.approx(expected, rel=1e-6)
    assert not torch.equal(ours[0], ours[3])


def test_evaluate_samples_in_batches(generator):
    """7 tasks in batches of 3: the same as sampling 3, 3 and 1 by hand."""
    network = networks.sinusoid_network()
    learner, theta, tasks = Learner(network, 0.01), network.init(generator), SinusoidTasks(5)
    ours = evaluate(learner, theta, tasks, (0, 2), seeded(5), test_tasks=7, batch=3)
    by_hand = seeded(5)
    parts = [scores_by_step(learner, theta, tasks.sample(n, by_hand), (0, 2)) for n in (3, 3, 1)]
    for step in (0, 2):
        assert torch.equal(ours[step], torch.cat([part[step] for part in parts]))
        assert ours[step].shape == (7,) and not ours[step].requires_grad


@pytest.mark.parametrize("test_tasks", [1, 0, -3])
def test_evaluate_needs_at_least_two_tasks(test_tasks, generator):
    network = networks.sinusoid_network()
    with pytest.raises(ValueError, match="at least 2"):
        evaluate(Learner(network, 0.01), network.init(generator), SinusoidTasks(5), (0,), generator, test_tasks)
