"""The GPU check, rehearsed on the CPU: it runs, and reports a failure without stopping at it."""

import json
import os
import signal
import sys

import pytest

from tests import gpu_check


def rehearse(monkeypatch, out, *options: str) -> dict:
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--out", str(out), *options])
    gpu_check.main()
    return json.loads((out / "gpu_check.json").read_text())


def test_rehearsal_on_the_cpu(monkeypatch, tmp_path):
    seen = rehearse(monkeypatch, tmp_path, "--recipes", "sinusoid-10shot", "--only", "gradients", "resume")
    assert seen["gpu"] is None and seen["gradients: sinusoid-10shot"]["float64"] < 1e-9
    assert seen["resume: sinusoid-10shot"] == {"identical": True, "relative error": 0}


def test_a_failed_check_stops_neither_the_others_nor_the_report(monkeypatch, tmp_path):
    def fail(*arguments):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpu_check, "check_gradients", fail)
    with pytest.raises(SystemExit, match="Failed: gradients: sinusoid-10shot"):
        rehearse(monkeypatch, tmp_path, "--recipes", "sinusoid-10shot", "--only", "gradients", "resume", "timings")
    seen = json.loads((tmp_path / "gpu_check.json").read_text())
    assert seen["gradients: sinusoid-10shot"] == {"failed": "RuntimeError: no such kernel"}
    assert seen["resume: sinusoid-10shot"]["identical"] and "timings: sinusoid-10shot" not in seen


def crash(*arguments: str) -> dict:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def test_a_process_that_crashes_is_reported():
    """As torch may crash in a kernel: the checks after it still run."""
    assert gpu_check.in_own_process(crash)["failed"].startswith("BrokenProcessPool")
    assert gpu_check.in_own_process(gpu_check.train_module, "no such", "eager", "cpu") == {"failed": "KeyError: 'no such'"}


def test_modules_train_in_processes_of_their_own():
    seen = gpu_check.in_own_process(gpu_check.train_module, "dropout", "eager", "cpu")
    assert len(seen["losses"]) == 3 and seen["equal seeds, equal losses"]


def test_without_a_gpu_it_says_how_to_rehearse(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_check.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="finds no CUDA GPU on this machine: --device cpu rehearses"):
        gpu_check.main()
