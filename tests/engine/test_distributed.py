"""Several processes on one meta-batch compute a single process's gradient, and a run survives the death of one of them."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from maml_core import __main__ as cli
from maml_core.cli import training as train_command
from maml_core.engine import MetaTrainer, distributed
from maml_core.engine.distributed import Shard
from maml_core.networks import Network
from maml_core.recipes import find_recipe
from maml_core.training import checkpoints
from tests.small import make_trainer

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}

GRADIENT = """import sys, torch
from maml_core.engine.distributed import join, leave
from tests.engine.test_distributed import gradient_in_double
shard, _ = join("cpu")
gradient, losses = gradient_in_double(sys.argv[2], shard=shard)
if shard.rank == 0:
    torch.save((gradient, losses), sys.argv[1])
leave()
"""


def gradient_in_double(kind: str, **settings) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The meta-gradient at the initial theta and the tasks' losses, in float64.

    kind: "recipe", a network that is a function of weights, or "module"
    """
    recipe = find_recipe("sinusoid-10shot")
    learner = recipe.build_learner()
    if kind == "module":
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
        learner = replace(learner, network=Network.from_module(module, nn.MSELoss()))
    trainer = make_trainer(learner, recipe.build_tasks(), torch.Generator().manual_seed(3), 8, **settings)
    theta = {name: w.double() for name, w in trainer.theta.items()}
    episodes = trainer.tasks.sample(8, trainer.generator).to(dtype=torch.float64)
    return trainer.gradient(theta, episodes)


@pytest.mark.parametrize("kind", ["recipe", "module"])
def test_two_processes_compute_the_gradient_of_one(tmp_path, kind):
    """Up to float64 rounding: only the order of summation over tasks differs."""
    script, out = tmp_path / "gradient.py", tmp_path / "gradient.pt"
    script.write_text(GRADIENT)
    environment = ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}
    command = [*TORCHRUN, str(script), str(out), kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    (theirs, their_losses), (ours, losses) = torch.load(out), gradient_in_double(kind)
    assert theirs.keys() == ours.keys()
    for name, g in ours.items():
        assert g.dtype == torch.float64
        torch.testing.assert_close(theirs[name], g, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(their_losses, losses, rtol=1e-13, atol=1e-15)


LEFT = """import torch.distributed as dist
from pathlib import Path
from maml_core.engine.distributed import join, leave
def threads():
    return sorted(name for file in Path("/proc/self/task").glob("*/comm") if "gloo" in (name := file.read_text().strip()))
shard, _ = join("cpu")
import torch._dynamo  # as the first compiled or differentiated function does
dist.barrier()
before = threads()
leave()
print(shard.rank, bool(before), threads())
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="lists threads in /proc")
def test_no_thread_of_the_process_group_is_left(tmp_path):
    """One that is left while Python shuts down aborts the process: "terminate called without an active exception"."""
    script = tmp_path / "left.py"
    script.write_text(LEFT)
    environment = ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}
    done = subprocess.run([*TORCHRUN, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.split("\n")) == ["", "0 True []", "1 True []"]


def process_of_rank(rank: int, parent: int) -> int | None:
    """The process ID of torchrun's worker with this rank, found in /proc."""
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if f"RANK={rank}".encode() in environment and f"PPid:\t{parent}\n" in (entry / "status").read_text():
                return int(entry.name)
        except OSError:  # the process has exited
            continue
    return None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find the process of a rank")
def test_a_run_stops_when_a_process_dies_and_resumes_with_fewer(tmp_path):
    out = tmp_path / "run"
    command = ["-m", "maml_core", "train", "sinusoid-5shot", "--meta-batch", "4", "--engine", "eager", "--out", str(out)]
    command += ["--iterations", "100000", "--validate-every", "50"]
    process = subprocess.Popen([*TORCHRUN, *command], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    end = time.monotonic() + 120
    while not (out / "checkpoint.pt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    os.kill(process_of_rank(1, process.pid), signal.SIGKILL)
    said = process.communicate(timeout=120)[0].decode()
    assert process.returncode != 0
    kept = checkpoints.load(out / "checkpoint.pt")["iteration"]
    assert "maml_core: Another process of this training run has exited" in said
    advice = (
        f"-m maml_core train sinusoid-5shot --iterations 100000 --engine eager --validate-every 50 --resume --out {out}\n"
    )
    assert re.search(rf"Stopped at meta-iteration {kept:,}; resume with this command:\n  \S+ {re.escape(advice)}", said)

    assert said.count("Training sinusoid-5shot") == 1  # only process 0 prints
    assert checkpoints.load(out / "checkpoint.pt")["processes"] == 2
    # Up to the first validation its losses are a single process's, up to the rounding accumulated in fifty meta-iterations.
    recipe = find_recipe("sinusoid-5shot")
    alone = MetaTrainer(recipe.build_learner(), recipe.build_tasks(), torch.Generator().manual_seed(0), 4).run(50)
    first = checkpoints.load(out / "checkpoint.pt")["history"][0]
    assert first["iteration"] == 50 and first["loss"] == pytest.approx(alone.mean().item(), rel=1e-3)

    # A single process resumes from there.
    command[command.index("100000")] = str(kept + 10)
    done = subprocess.run(
        [sys.executable, *command, "--resume"], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert f"Resuming after meta-iteration {kept:,}." in done.stdout
    assert checkpoints.load(out / "checkpoint.pt")["iteration"] == kept + 10


@pytest.mark.parametrize("wait", [lambda: Shard(1, 2).rank0_first().__enter__(), distributed.leave])
def test_a_process_that_waits_for_one_that_failed_says_so(monkeypatch, wait):
    def closed():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:538] Read error [127.0.0.1]: Connection reset by peer")

    monkeypatch.setattr(distributed.dist, "barrier", closed)
    monkeypatch.setattr(distributed.dist, "is_initialized", lambda: True)
    with pytest.raises(ConnectionError, match="Another process of this training run has exited: see its error message"):
        wait()


def test_the_cause_is_printed_even_if_torchrun_terminates_the_process(monkeypatch, capsys):
    """torchrun sends SIGTERM to all processes once one has died, even to one that is leaving the process group."""
    terminated = []

    def peer_has_exited(*arguments):
        raise ConnectionError("Another process of this training run has exited.")

    monkeypatch.setattr(train_command, "join", lambda device: (Shard(0, 2), device))
    monkeypatch.setattr(train_command, "_train_shard", peer_has_exited)
    monkeypatch.setattr(train_command, "leave", lambda wait=True: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda number, frame: terminated.append(number))
    try:
        assert cli.main(["train", "sinusoid-5shot"]) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not terminated and "maml_core: Another process of this training run has exited." in capsys.readouterr().err
