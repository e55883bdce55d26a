"""Kill training runs at random moments, resume and compare them: python -m tests.kill_and_resume --kills 100

Each run is killed once with SIGKILL, which cannot be caught: half of them after a random time, the other half while
writing a file, at a random file system call or halfway through a checkpoint. Resumed, it has to end where an
uninterrupted run does, to the last bit: weights, Adam's moments, generator, history, and the best theta.
"""

import argparse
import io
import mmap
import multiprocessing
import os
import random
import signal
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import IO, Any

import torch
from tqdm import tqdm

from maml_core.episodes import Episodes
from maml_core.recipes import find_recipe
from maml_core.training import checkpoints, loop, monitor
from maml_core.util import atomic_files

RECIPE = replace(find_recipe("sinusoid-5shot"), meta_batch=4)
ITERATIONS, VALIDATE_EVERY = 50, 15
EVERY = 0.02  # seconds between checkpoints instead of a minute, so that many of them are written
CALLS = ("fsync", "link", "replace")  # of the file system, in the order in which a file is written


@dataclass(frozen=True)
class Death:
    """How a run dies: after `seconds`, or before or after its `call`-th file system call while writing."""

    seconds: float | None = None
    call: int | None = None
    point: str = "before"  # "before" or "after" the call, or "half" of a checkpoint's bytes


class Counted:
    """Sine waves that count sampled meta-batches in shared memory."""

    def __init__(self, counter: mmap.mmap) -> None:
        self.tasks, self.counter = RECIPE.build_tasks(), counter

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        self.counter[:8] = struct.pack("q", struct.unpack("q", self.counter[:8])[0] + 1)
        return self.tasks.sample(tasks, generator)


def run_training(out: Path, resume: bool, counter_file: Path, death: Death | None) -> None:
    """The work of one process: train, and die if that is planned."""
    torch.set_num_threads(1)
    checkpoints.CHECKPOINT_INTERVAL, monitor.VALIDATION_TASKS = EVERY, 25
    tqdm.set_lock(threading.RLock())  # a killed process would leave the semaphores of tqdm's own lock behind
    loop.progress = lambda *arguments, **settings: tqdm(disable=True)
    if death and death.call is not None:
        die_while_writing(death)
    with counter_file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as counter:
        settings = loop.Settings(iterations=ITERATIONS, resume=resume, validate_every=VALIDATE_EVERY, log=lambda text: None)
        loop.train(RECIPE, Counted(counter), RECIPE.build_tasks(), out, settings)


def die_while_writing(death: Death) -> None:
    """Make this process kill itself at the chosen file system call."""
    calls = 0

    def dies() -> bool:
        nonlocal calls
        calls += 1
        return calls == death.call

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            last = dies()
            if last and death.point == "before":
                kill()
            result = function(*arguments, **settings)
            if last:
                kill()
            return result

        return call

    write = checkpoints._write_tensors

    def half(content: Any, file: IO[bytes]) -> None:
        if dies():
            whole = io.BytesIO()
            write(content, whole)
            file.write(whole.getbuffer()[: whole.tell() // 2])
            file.flush()
            kill()
        write(content, file)

    if death.point == "half":
        checkpoints._write_tensors = half
        return
    for name in CALLS:
        setattr(atomic_files.os, name, mortal(getattr(os, name)))


@dataclass
class Result:
    """One run: whether it was killed, what was lost or unreadable, and whether it ended like the uninterrupted run."""

    killed: bool
    while_writing: bool
    lost: int
    unreadable: int
    anew: bool
    identical: bool


class Harness:
    """Starts runs below a folder, in processes forked from one that has already imported torch."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["maml_core.training"])
        started = time.monotonic()
        self.run(folder / "straight")
        self.run(folder / "again")  # the first one waited for the imports
        self.seconds = (time.monotonic() - started) / 2
        self.expected = ending(folder / "straight")
        if not same(self.expected, ending(folder / "again")):
            raise RuntimeError("Two uninterrupted runs ended differently: there is nothing to compare with.")

    def run(self, out: Path, resume: bool = False, death: Death | None = None) -> tuple[int, bool]:
        """Run one process to its end; returns how many meta-batches it sampled, and whether it was killed."""
        counter = out.with_suffix(".count")
        counter.write_bytes(struct.pack("q", 0))
        process = self.processes.Process(target=run_training, args=(out, resume, counter, death))
        process.start()
        process.join(death.seconds if death else None)
        if process.is_alive():
            process.kill()
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        if process.exitcode and not killed:
            raise RuntimeError(f"The run in {out} ended with exit code {process.exitcode}.")
        return struct.unpack("q", counter.read_bytes())[0], killed

    def kill_one(self, number: int) -> Result:
        """Train, die, check the remaining files, resume, compare."""
        out = self.folder / f"killed-{number}"
        if number % 2:
            death = Death(call=self.random.randint(1, 20), point=self.random.choice(("before", "after", "half")))
        else:
            death = Death(seconds=self.random.uniform(0.2, 1.0) * self.seconds)
        drawn, killed = self.run(out, death=death)  # not counted if it finished before it was due to die
        path = out / checkpoints.CHECKPOINT
        unreadable = sum(
            not is_readable(file) for file in (path, out / checkpoints.PREVIOUS, out / "weights.pt") if file.exists()
        )
        kept = checkpoints.load(path)["iteration"] if path.exists() and not unreadable else 0
        self.run(out, resume=path.exists())
        left_over = [file.name for file in out.iterdir() if file.suffix == ".part"]
        identical = same(self.expected, ending(out)) and not left_over
        return Result(killed, killed and death.call is not None, max(drawn - kept, 0), unreadable, not kept, identical)


def is_readable(path: Path) -> bool:
    try:
        return bool(checkpoints.load(path))
    except ValueError:
        return False


def ending(out: Path) -> dict[str, Any]:
    """The state and results of a run, without its times."""
    last, best = checkpoints.load(out / checkpoints.CHECKPOINT), checkpoints.load(out / "weights.pt")
    states = ("theta", "first_moment", "second_moment", "adam_steps", "generator", "iteration", "history", "best")
    return {**{key: last[key] for key in states}, "best theta": best["theta"], "best iteration": best["iteration"]}


def same(ours: Any, theirs: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    return ours == theirs


def report(results: list[Result]) -> str:
    """The table that is printed."""
    lost = [result.lost for result in results]
    rows = {
        "runs": len(results),
        "kills": sum(result.killed for result in results),
        "of them while writing": sum(result.while_writing for result in results),
        "killed before the first checkpoint, restarted": sum(result.anew for result in results),
        "identical endings": sum(result.identical for result in results),
        "unreadable checkpoints": sum(result.unreadable for result in results),
        f"meta-iterations lost, of {ITERATIONS}: median": f"{median(lost):.0f}",
        "meta-iterations lost: most": max(lost),
    }
    return "\n".join(f"{name:50}{value:>6}" for name, value in rows.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill_and_resume", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of death")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), options.seed)
        results: list[Result] = []
        while sum(result.killed for result in results) < options.kills and len(results) < 2 * options.kills:
            results.append(harness.kill_one(len(results)))
    print(report(results))
    return 0 if all(result.identical and not result.unreadable for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
