"""Training runs that are stopped, killed or cannot write: resumed, they end where an uninterrupted run does."""

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
from maml_core.training.checkpoints import CHECKPOINT, PREVIOUS, CheckpointWriter
from maml_core.training.interrupts import Stopped, catch_stop_signals
from maml_core.util import atomic_files
from maml_core.util.atomic_files import folder_lock, write_atomically
from tests.kill_and_resume import Harness, ending, report, same
from tests.small import SMALL, make_trainer, small_train

# Killed runs.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forked processes")
def test_killed_runs_end_as_if_never_interrupted(tmp_path):
    """The short form of `python -m tests.kill_and_resume --kills 100`."""
    harness = Harness(tmp_path, seed=3)
    results = [harness.kill_one(number) for number in range(5)]
    summary = report(results)
    assert all(result.identical for result in results), summary
    assert not any(result.unreadable for result in results), summary
    assert any(result.while_writing for result in results)


COMMAND = [sys.executable, "-m", "maml_core", "train", "sinusoid-5shot", "--meta-batch", "4", "--validate-every", "100"]
COMMAND += ["--iterations", "400", "--engine", "eager", "--out"]


def test_signals_finish_the_iteration_and_print_how_to_resume(tmp_path):
    """The command line, stopped by Ctrl-C and then SIGTERM: exit codes 130 and 143, and the uninterrupted run's theta."""
    subprocess.run([*COMMAND, tmp_path / "straight"], capture_output=True, check=True)
    out = tmp_path / "stopped"
    command: list[str] = [*COMMAND, str(out)]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before = iteration_in(out)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, start_new_session=True
        )
        while (tail := process.stdout.read(200)) and b"it/s" not in tail:  # the bar moves: training has begun
            pass
        process.send_signal(number)
        output = process.communicate(timeout=60)[0].decode()
        assert process.returncode == code
        assert "Traceback" not in output
        assert f"Stopped at meta-iteration {iteration_in(out)}; resume with this command:" in output
        assert before <= iteration_in(out) < 400
        command = shlex.split(output.splitlines()[-1])
        assert command[:3] == COMMAND[:3] and "--resume" in command
    subprocess.run(command, capture_output=True, check=True)
    assert same(ending(out), ending(tmp_path / "straight"))


def iteration_in(out: Path) -> int:
    return checkpoints.load(out / CHECKPOINT)["iteration"] if (out / CHECKPOINT).exists() else 0


# Stop requests.


def test_stop_request_is_deferred_and_old_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with catch_stop_signals() as stop:
        stop.deferred = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)  # the same key press, forwarded
        stop._received -= 2
        with pytest.raises(Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        assert stopped.value.signal == signal.SIGINT
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_stop_request_that_is_not_deferred_raises_at_once():
    with catch_stop_signals(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_training_in_another_thread_ignores_signals(tmp_path):
    """As in a notebook's background thread: only the main thread can handle signals."""
    done = []
    thread = threading.Thread(target=lambda: done.append(small_train(tmp_path, 10)))
    thread.start()
    thread.join()
    assert done[0]["iteration"] == 10


class Stopping:
    """Sine waves whose n-th draw sends SIGTERM."""

    def __init__(self, at: int) -> None:
        self.tasks, self.left = SMALL.build_tasks(), at

    def sample(self, tasks, generator):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.tasks.sample(tasks, generator)


def test_stop_between_validations_does_not_change_the_outcome(tmp_path):
    straight = small_train(tmp_path / "straight")
    with pytest.raises(Stopped):
        small_train(tmp_path / "stopped", tasks=Stopping(14))
    assert iteration_in(tmp_path / "stopped") == 14  # the current meta-iteration is finished
    assert [row["iteration"] for row in checkpoints.load(tmp_path / "stopped" / CHECKPOINT)["history"]] == [10]
    resumed = small_train(tmp_path / "stopped", resume=True)
    assert resumed["history"] == straight["history"] and resumed["best"] == straight["best"]
    assert same(ending(tmp_path / "stopped"), ending(tmp_path / "straight"))


def test_resuming_between_validations_does_not_change_the_outcome(tmp_path, monkeypatch):
    """With a checkpoint after each meta-iteration, which must include the losses since the last validation."""
    small_train(tmp_path / "straight")
    monkeypatch.setattr(checkpoints, "CHECKPOINT_INTERVAL", 0.0)
    with pytest.raises(ZeroDivisionError):
        small_train(tmp_path / "dead", tasks=Failing(18))
    assert iteration_in(tmp_path / "dead") == 17
    small_train(tmp_path / "dead", resume=True)
    assert same(ending(tmp_path / "dead"), ending(tmp_path / "straight"))


@pytest.mark.parametrize("where", ["validation_score", "is_better"])
def test_second_ctrl_c_during_validation_loses_nothing(tmp_path, monkeypatch, where):
    """While it is measured, or between measuring and saving: the resumed run has that validation too."""
    small_train(tmp_path / "straight")
    real, calls = getattr(loop, where), 0

    def interrupted(*arguments):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Stopped(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(loop, where, interrupted)
    with pytest.raises(Stopped):
        small_train(tmp_path / "stopped")
    assert iteration_in(tmp_path / "stopped") >= 20
    monkeypatch.undo()
    small_train(tmp_path / "stopped", resume=True)
    assert same(ending(tmp_path / "stopped"), ending(tmp_path / "straight"))


@pytest.mark.parametrize("validate_every", [10, 1000])
def test_run_resumed_only_to_end_is_still_validated(tmp_path, validate_every):
    straight = small_train(tmp_path / "straight", 14, validate_every=validate_every)
    with pytest.raises(Stopped):
        small_train(tmp_path / "stopped", tasks=Stopping(14), validate_every=validate_every)
    resumed = small_train(tmp_path / "stopped", 14, resume=True, validate_every=validate_every)
    assert resumed["history"] == straight["history"] and resumed["best"] == straight["best"]
    assert same(ending(tmp_path / "stopped"), ending(tmp_path / "straight"))


class Failing(Stopping):
    """Sine waves whose n-th draw raises, like a bug in user code."""

    def sample(self, tasks, generator):
        self.left -= 1
        return self.tasks.sample(tasks, generator) if self.left else 1 / 0


# Files.


def test_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path):
    straight = small_train(tmp_path / "straight", 30)
    small_train(tmp_path / "damaged", 20)
    assert checkpoints.load(tmp_path / "damaged" / PREVIOUS)["iteration"] == 10
    damaged = tmp_path / "damaged" / CHECKPOINT
    damaged.write_bytes(damaged.read_bytes()[:1000])  # as a failing disk might leave it
    messages = []
    resumed = small_train(tmp_path / "damaged", 30, resume=True, log=messages.append)
    assert "truncated" in messages[0] and "Resuming from the previous checkpoint." in messages[0]
    assert torch.equal(resumed["theta"]["w1"], straight["theta"]["w1"]) and resumed["history"] == straight["history"]


def test_two_damaged_checkpoints_are_an_error(tmp_path):
    for name in (CHECKPOINT, PREVIOUS):
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="truncated"):
        load_training(tmp_path, lambda text: None)


def test_previous_file_is_copied_if_there_are_no_hard_links(tmp_path, monkeypatch):
    def no_links(*arguments):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(atomic_files.os, "link", no_links)
    for content in (b"one", b"two", b"three"):
        write_atomically(tmp_path / "a", lambda file, content=content: file.write(content), tmp_path / "before")
    assert (tmp_path / "a").read_bytes() == b"three" and (tmp_path / "before").read_bytes() == b"two"
    assert len(list(tmp_path.iterdir())) == 2


def test_partial_files_of_a_killed_process_are_removed(tmp_path):
    small_train(tmp_path, 10)
    (tmp_path / f"{CHECKPOINT}.12345.part").write_bytes(b"half")
    small_train(tmp_path, 20, resume=True)
    assert not list(tmp_path.glob("*.part"))


def test_second_run_in_the_same_folder_is_rejected(tmp_path):
    small_train(tmp_path, 10)
    with folder_lock(tmp_path) as locked:
        assert locked
        with pytest.raises(ValueError, match="Another process is training in"):
            small_train(tmp_path, 20, resume=True)
    small_train(tmp_path, 20, resume=True)


def hold(folder: Path, held, seconds: float) -> None:
    with folder_lock(folder) as locked:
        assert locked
        held.set()
        time.sleep(seconds)


def test_lock_is_released_when_its_process_ends(tmp_path):
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path, held, 60))
    process.start()
    assert held.wait(60)
    with folder_lock(tmp_path) as locked:
        assert not locked
    process.kill()
    process.join()
    with folder_lock(tmp_path, wait=60) as locked:
        assert locked


# A full disk.


def test_training_survives_a_full_disk_and_reports_it_once(tmp_path, monkeypatch):
    """Full from the second to the fourth checkpoint: the first one stays, and in the end nothing is missing."""
    straight = small_train(tmp_path / "straight", 50)
    messages = []
    monkeypatch.setattr(checkpoints, "save", failing(checkpoints.save, {2, 3, 4}))
    full = small_train(tmp_path / "full", 50, log=messages.append)
    failures = [text for text in messages if "could not be saved" in text]
    assert len(failures) == 1 and "No space left" in failures[0]
    assert "the last good checkpoint is from meta-iteration 10" in failures[0]
    assert any("was saved: nothing is missing" in text for text in messages)
    assert full["history"] == straight["history"]
    assert same(ending(tmp_path / "full"), ending(tmp_path / "straight"))
    assert checkpoints.load(tmp_path / "full" / CHECKPOINT)["iteration"] == 50


def failing(save, attempts: set[int]):
    """Wrap `save` so that it fails in the given rounds; a round ends with a checkpoint or a failure."""
    count = 1

    def attempt(content, path, previous=None):
        nonlocal count
        if count in attempts:
            count += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, path, previous)
        count += path.name == CHECKPOINT

    return attempt


def test_disk_that_stays_full_is_an_error_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "save", failing(checkpoints.save, set(range(2, 99))))
    with pytest.raises(OSError, match="could not be saved.*free some space.*--resume; .* is from meta-iteration 10"):
        small_train(tmp_path, 30)
    assert iteration_in(tmp_path) == 10
    monkeypatch.undo()
    assert small_train(tmp_path, 30, resume=True)["iteration"] == 30


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_raises_oserror():
    """torch.save alone would raise a RuntimeError."""
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb", buffering=0) as full:
        checkpoints._write_tensors({"theta": torch.zeros(100_000)}, full)


def test_checkpoint_writer_retries_pending_files(tmp_path, monkeypatch):
    """Weights that could not be written are written later, even if the next validation is no better."""
    writer = CheckpointWriter(tmp_path, lambda text: None)
    monkeypatch.setattr(checkpoints, "save", failing(checkpoints.save, {1}))
    writer.write({"weights.pt": {"theta": 1}, CHECKPOINT: {"iteration": 1}}, 1)
    assert not (tmp_path / "weights.pt").exists() and writer.last_saved is None
    writer.write({CHECKPOINT: {"iteration": 2}}, 2)
    assert torch.load(tmp_path / "weights.pt") == {"theta": 1} and writer.last_saved == 2
    writer.finish()


# Divergence.


@pytest.mark.parametrize("alpha", [3.0, 1e20], ids=["after some iterations", "at once"])
def test_divergence_is_an_error_and_keeps_the_last_good_checkpoint(tmp_path, alpha):
    small_train(tmp_path, 10, recipe=replace(SMALL, inner_steps=5))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    wild = replace(SMALL, inner_steps=5, alpha=alpha)
    with pytest.raises(ValueError, match=r"sinusoid-5shot is no longer finite at meta-iteration \d+.*alpha = .*--clip"):
        small_train(tmp_path / "wild", 500, recipe=wild)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    if (tmp_path / "wild" / CHECKPOINT).exists():
        kept = checkpoints.load(tmp_path / "wild" / CHECKPOINT)
        assert all(w.isfinite().all() for w in kept["theta"].values())


class Poisoned(Stopping):
    """Sine waves whose n-th meta-batch has a NaN target."""

    def sample(self, tasks, generator):
        self.left -= 1
        episodes = self.tasks.sample(tasks, generator)
        if self.left == 0:
            episodes.query_y[0, 0] = float("nan")
        return episodes


def test_divergence_names_the_iteration_and_saves_nothing_bad(tmp_path):
    with pytest.raises(ValueError, match="at meta-iteration 13: .* last good checkpoint, from meta-iteration 10, is in"):
        small_train(tmp_path, 30, tasks=Poisoned(13))
    assert iteration_in(tmp_path) == 10
    assert small_train(tmp_path, 30, resume=True)["iteration"] == 30


def test_clipping_bounds_every_value_of_the_meta_gradient():
    """Adam's first step is the learning rate times the sign, but its moments reveal the gradient: m = (1 - 0.9) g."""
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
    for huge in (3.402823466385289e38, 1e300):  # more than float32 holds, which torch's clamp refuses
        assert all(torch.equal(m, free[name]) for name, m in moments(huge).items())


def test_clip_belongs_to_the_settings_of_a_run(tmp_path):
    small_train(tmp_path, 10, recipe=replace(SMALL, clip=0.5))
    assert checkpoints.load(tmp_path / "weights.pt")["recipe"]["clip"] == 0.5
    with pytest.raises(ValueError, match="different settings: clip is 0.5 in the checkpoint and not set here; resume"):
        small_train(tmp_path, 20, resume=True)
    with pytest.raises(ValueError, match="clip must be greater than 0"):
        replace(SMALL, clip=-1.0)
