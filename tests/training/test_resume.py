"""Trainings that are stopped, killed, or cannot write: they go on where they were, and end where a straight one does."""

import errno
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from maml_core.training import checkpoints, load_training, loop
from maml_core.training.checkpoints import CHECKPOINT, PREVIOUS, Keeper
from maml_core.training.interrupts import Stopped, wish_to_stop
from maml_core.util import atomic_files
from maml_core.util.atomic_files import sole_user, write_whole
from tests.kill_and_resume import Harness, ending, report, same
from tests.small import SMALL, make_trainer, small_train

# Killed.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
def test_five_killed_trainings_end_as_if_nothing_had_happened(tmp_path):
    """The short form of `python -m tests.kill_and_resume --kills 100`."""
    harness = Harness(tmp_path, seed=3)
    results = [harness.kill_one(number) for number in range(5)]
    told = report(results)
    assert all(result.identical for result in results), told
    assert not any(result.unreadable for result in results), told
    assert any(result.while_writing for result in results)


COMMAND = [sys.executable, "-m", "maml_core", "train", "sinusoid-5shot", "--meta-batch", "4", "--validate-every", "100"]
COMMAND += ["--iterations", "400", "--engine", "eager", "--out"]


def test_signals_finish_the_iteration_and_say_how_to_go_on(tmp_path):
    """The command line, stopped by Ctrl-C and then by SIGTERM: 130, 143, and in the end the straight training's theta."""
    subprocess.run([*COMMAND, tmp_path / "straight"], capture_output=True, check=True)
    out = tmp_path / "stopped"
    command: list[str] = [*COMMAND, str(out)]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before = iteration_in(out)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, start_new_session=True
        )
        while (tail := process.stdout.read(200)) and b"it/s" not in tail:  # the bar moves: it trains
            pass
        process.send_signal(number)
        said = process.communicate(timeout=60)[0].decode()
        assert process.returncode == code
        assert "Traceback" not in said
        assert f"Stopped at meta-iteration {iteration_in(out)}; go on with this command:" in said
        assert before <= iteration_in(out) < 400
        command = shlex.split(said.splitlines()[-1])
        assert command[:3] == COMMAND[:3] and "--resume" in command
    subprocess.run(command, capture_output=True, check=True)
    assert same(ending(out), ending(tmp_path / "straight"))


def iteration_in(out: Path) -> int:
    return checkpoints.load(out / CHECKPOINT)["iteration"] if (out / CHECKPOINT).exists() else 0


# Asked to stop.


def test_a_wish_is_noted_and_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with wish_to_stop() as wish:
        wish.gently = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert wish.number == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)  # the same key press, handed on
        wish._asked -= 2
        with pytest.raises(Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        assert stopped.value.signal == signal.SIGINT
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_what_cannot_be_finished_soon_is_left_at_once():
    with wish_to_stop(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_other_threads_train_without_listening(tmp_path):
    """As in a notebook's background thread: signals belong to the main one."""
    done = []
    thread = threading.Thread(target=lambda: done.append(small_train(tmp_path, 10)))
    thread.start()
    thread.join()
    assert done[0]["iteration"] == 10


class Wishing:
    """Sine waves; in the n-th draw somebody asks to stop."""

    def __init__(self, at: int) -> None:
        self.tasks, self.left = SMALL.build_tasks(), at

    def sample(self, tasks, generator):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.tasks.sample(tasks, generator)


def test_a_stop_between_validations_changes_nothing_in_the_end(tmp_path):
    straight = small_train(tmp_path / "straight")
    with pytest.raises(Stopped):
        small_train(tmp_path / "stopped", tasks=Wishing(14))
    assert iteration_in(tmp_path / "stopped") == 14  # the one in which it was asked is finished
    assert [row["iteration"] for row in checkpoints.load(tmp_path / "stopped" / CHECKPOINT)["history"]] == [10]
    resumed = small_train(tmp_path / "stopped", resume=True)
    assert resumed["history"] == straight["history"] and resumed["best"] == straight["best"]
    assert same(ending(tmp_path / "stopped"), ending(tmp_path / "straight"))


def test_checkpoints_between_validations_go_on_to_the_same_end(tmp_path, monkeypatch):
    """One after each meta-iteration: each must hold the losses since the last validation, too."""
    small_train(tmp_path / "straight")
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    with pytest.raises(ZeroDivisionError):
        small_train(tmp_path / "dead", tasks=Failing(18))
    assert iteration_in(tmp_path / "dead") == 17
    small_train(tmp_path / "dead", resume=True)
    assert same(ending(tmp_path / "dead"), ending(tmp_path / "straight"))


@pytest.mark.parametrize("where", ["validation_score", "is_better"])
def test_a_second_ctrl_c_in_a_validation_loses_none(tmp_path, monkeypatch, where):
    """While it is measured, or when it has been and is not yet written: the resumed training has it, too."""
    small_train(tmp_path / "straight")
    real, calls = getattr(loop, where), 0

    def cut_off(*arguments):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Stopped(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(loop, where, cut_off)
    with pytest.raises(Stopped):
        small_train(tmp_path / "stopped")
    assert iteration_in(tmp_path / "stopped") >= 20
    monkeypatch.undo()
    small_train(tmp_path / "stopped", resume=True)
    assert same(ending(tmp_path / "stopped"), ending(tmp_path / "straight"))


@pytest.mark.parametrize("validate_every", [10, 1000])
def test_a_training_that_ends_where_it_was_stopped_is_validated(tmp_path, validate_every):
    straight = small_train(tmp_path / "straight", 14, validate_every=validate_every)
    with pytest.raises(Stopped):
        small_train(tmp_path / "stopped", tasks=Wishing(14), validate_every=validate_every)
    resumed = small_train(tmp_path / "stopped", 14, resume=True, validate_every=validate_every)
    assert resumed["history"] == straight["history"] and resumed["best"] == straight["best"]
    assert same(ending(tmp_path / "stopped"), ending(tmp_path / "straight"))


class Failing(Wishing):
    """Sine waves whose n-th draw fails, as a bug of one's own would."""

    def sample(self, tasks, generator):
        self.left -= 1
        return self.tasks.sample(tasks, generator) if self.left else 1 / 0


# Files.


def test_the_checkpoint_before_stays_and_is_gone_on_from(tmp_path):
    straight = small_train(tmp_path / "straight", 30)
    small_train(tmp_path / "damaged", 20)
    assert checkpoints.load(tmp_path / "damaged" / PREVIOUS)["iteration"] == 10
    damaged = tmp_path / "damaged" / CHECKPOINT
    damaged.write_bytes(damaged.read_bytes()[:1000])  # as a dying disk leaves it
    said = []
    resumed = small_train(tmp_path / "damaged", 30, resume=True, say=said.append)
    assert "truncated" in said[0] and "Going on from the checkpoint before it." in said[0]
    assert torch.equal(resumed["theta"]["w1"], straight["theta"]["w1"]) and resumed["history"] == straight["history"]


def test_where_both_are_damaged_it_says_so(tmp_path):
    for name in (CHECKPOINT, PREVIOUS):
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="truncated"):
        load_training(tmp_path, lambda text: None)


def test_a_copy_serves_where_the_file_system_has_no_links(tmp_path, monkeypatch):
    def no_links(*arguments):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(atomic_files.os, "link", no_links)
    for content in (b"one", b"two", b"three"):
        write_whole(tmp_path / "a", lambda file, content=content: file.write(content), tmp_path / "before")
    assert (tmp_path / "a").read_bytes() == b"three" and (tmp_path / "before").read_bytes() == b"two"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_process_had_begun_to_write_is_cleared_away(tmp_path):
    small_train(tmp_path, 10)
    (tmp_path / f"{CHECKPOINT}.12345.part").write_bytes(b"half")
    small_train(tmp_path, 20, resume=True)
    assert not list(tmp_path.glob("*.part"))


def test_two_trainings_in_one_folder_are_refused(tmp_path):
    small_train(tmp_path, 10)
    with sole_user(tmp_path) as free:
        assert free
        with pytest.raises(ValueError, match="Another process is training in"):
            small_train(tmp_path, 20, resume=True)
    small_train(tmp_path, 20, resume=True)


def hold(folder: Path, held, seconds: float) -> None:
    with sole_user(folder) as free:
        assert free
        held.set()
        time.sleep(seconds)


def test_a_lock_ends_with_its_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path, held, 60))
    process.start()
    assert held.wait(60)
    with sole_user(tmp_path) as free:
        assert not free
    process.kill()
    process.join()
    with sole_user(tmp_path, wait=60) as free:
        assert free


# A full disk.


def test_a_full_disk_is_survived_and_told_once(tmp_path, monkeypatch):
    """Full from the second checkpoint to the fourth: the first one stays, and in the end nothing is missing."""
    straight = small_train(tmp_path / "straight", 50)
    said = []
    monkeypatch.setattr(checkpoints, "save", failing(checkpoints.save, {2, 3, 4}))
    full = small_train(tmp_path / "full", 50, say=said.append)
    told = [text for text in said if "could not be written" in text]
    assert len(told) == 1 and "No space left" in told[0] and "the last good checkpoint is 10" in told[0]
    assert any("was written: nothing is missing" in text for text in said)
    assert full["history"] == straight["history"]
    assert same(ending(tmp_path / "full"), ending(tmp_path / "straight"))
    assert checkpoints.load(tmp_path / "full" / CHECKPOINT)["iteration"] == 50


def failing(save, attempts: set[int]):
    """`save`, which fails in the given rounds; a round ends with the checkpoint, or with a failure."""
    count = 1

    def attempt(content, path, previous=None):
        nonlocal count
        if count in attempts:
            count += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, path, previous)
        count += path.name == CHECKPOINT

    return attempt


def test_a_disk_that_stays_full_is_an_error_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "save", failing(checkpoints.save, set(range(2, 99))))
    with pytest.raises(OSError, match="could not be written.*make room.*--resume; the last good checkpoint is 10"):
        small_train(tmp_path, 30)
    assert iteration_in(tmp_path) == 10
    monkeypatch.undo()
    assert small_train(tmp_path, 30, resume=True)["iteration"] == 30


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_torch_does_not_hide_a_full_disk():
    """torch.save alone answers a full disk with a RuntimeError of its own."""
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb", buffering=0) as full:
        checkpoints._save_tensors({"theta": torch.zeros(100_000)}, full)


def test_the_keeper_writes_what_waited(tmp_path, monkeypatch):
    """Weights that could not be written are not forgotten when the next validation is no better."""
    kept = Keeper(tmp_path, lambda text: None)
    monkeypatch.setattr(checkpoints, "save", failing(checkpoints.save, {1}))
    kept.write({"weights.pt": {"theta": 1}, CHECKPOINT: {"iteration": 1}}, 1)
    assert not (tmp_path / "weights.pt").exists() and kept.written is None
    kept.write({CHECKPOINT: {"iteration": 2}}, 2)
    assert torch.load(tmp_path / "weights.pt") == {"theta": 1} and kept.written == 2
    kept.finish()


# Not a number.


@pytest.mark.parametrize("alpha", [3.0, 1e20], ids=["after some iterations", "at once"])
def test_divergence_stops_with_a_sentence_and_keeps_the_last_good_checkpoint(tmp_path, alpha):
    small_train(tmp_path, 10, recipe=replace(SMALL, inner_steps=5))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    wild = replace(SMALL, inner_steps=5, alpha=alpha)
    with pytest.raises(ValueError, match=r"sinusoid-5shot is no longer finite at meta-iteration \d+.*alpha = .*--clip"):
        small_train(tmp_path / "wild", 500, recipe=wild)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    if (tmp_path / "wild" / CHECKPOINT).exists():
        kept = checkpoints.load(tmp_path / "wild" / CHECKPOINT)
        assert all(w.isfinite().all() for w in kept["theta"].values())


class Poisoned(Wishing):
    """Sine waves whose n-th meta-batch has a target that is not a number."""

    def sample(self, tasks, generator):
        self.left -= 1
        episodes = self.tasks.sample(tasks, generator)
        if self.left == 0:
            episodes.query_y[0, 0] = float("nan")
        return episodes


def test_the_iteration_is_named_and_nothing_bad_is_written(tmp_path):
    with pytest.raises(ValueError, match="at meta-iteration 13: .* The last good checkpoint, of meta-iteration 10, is in"):
        small_train(tmp_path, 30, tasks=Poisoned(13))
    assert iteration_in(tmp_path) == 10
    assert small_train(tmp_path, 30, resume=True)["iteration"] == 30


def test_clipping_bounds_every_value_of_the_meta_gradient():
    """Adam's first step is the learning rate times the sign; its moments tell the gradient: m = (1 - 0.9) g."""
    recipe = replace(SMALL, clip=1e-3)

    def moments(clip: float | None, engine: str = "eager") -> dict:
        trainer = make_trainer(
            recipe.build_learner(), recipe.build_tasks(), torch.Generator().manual_seed(0), 4, clip=clip, engine=engine
        )
        trainer.step()
        return trainer.state()["first_moment"]

    free, clipped = moments(None), moments(1e-3)
    assert max(m.abs().max() for m in free.values()) > 1e-3
    for name, m in clipped.items():
        torch.testing.assert_close(m / 0.1, (free[name] / 0.1).clamp(-1e-3, 1e-3), rtol=1e-5, atol=1e-9)


def test_clip_is_part_of_the_settings(tmp_path):
    small_train(tmp_path, 10, recipe=replace(SMALL, clip=0.5))
    assert checkpoints.load(tmp_path / "weights.pt")["recipe"]["clip"] == 0.5
    with pytest.raises(ValueError, match="other settings: clip is 0.5 in the checkpoint and not set here; go on with"):
        small_train(tmp_path, 20, resume=True)
    with pytest.raises(ValueError, match="clip must be greater than 0"):
        replace(SMALL, clip=-1.0)
