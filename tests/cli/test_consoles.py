"""Output on consoles with a limited encoding, closed consoles, and pipes whose reader has exited."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from maml_core import __main__ as cli
from maml_core.cli.consoles import ERRORS, Console, safe_consoles
from maml_core.training import checkpoints
from maml_core.util.progress import progress


@pytest.mark.parametrize("encoding, shown", [("ascii", "98.7 +/- 0.4, 0 -> 1, 2x3, -, Finn, e, ?"),
                                             ("cp1252", "98.7 ± 0.4, 0 -> 1, 2×3, –, Finn, é, ?"),
                                             ("utf-8", "98.7 ± 0.4, 0 → 1, 2×3, –, Finn, é, 道")])  # fmt: skip
def test_missing_characters_are_substituted(encoding, shown):
    assert "98.7 ± 0.4, 0 → 1, 2×3, –, Finn, é, 道".encode(encoding, ERRORS).decode(encoding) == shown


def test_bytes_of_a_file_name_are_unchanged():
    """Python represents a name that is not UTF-8 with surrogates; it is printed as the original bytes."""
    name = os.fsdecode(b"runs/caf\xe9")
    assert name.encode("utf-8", ERRORS) == b"runs/caf\xe9"


def bare_console(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("command", ["reproduce", "recipes", "evaluate sinusoid-5shot --tasks 5",
                                     "train sinusoid-5shot --iterations 2 --meta-batch 2"])  # fmt: skip
def test_every_command_prints_in_every_encoding(tmp_path, monkeypatch, command, encoding):
    monkeypatch.chdir(tmp_path)
    out, err = (bare_console(encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert cli.main(command.split()) == 0
    assert (sys.stdout, sys.stderr) == (out, err)
    printed, bar = (stream.buffer.getvalue().decode(encoding) for stream in (out, err))
    if not command.startswith("recipes"):
        assert re.search(r"\d \+/- \d" if encoding == "ascii" else r"\d ± \d", printed)
    if command.startswith("train"):
        assert "After 2 meta-iterations" in printed and "2/2" in bar
        assert "[Errno" not in printed + bar and (tmp_path / "runs" / "sinusoid-5shot" / "weights.pt").exists()


class Broken(io.StringIO):
    """A stream on which every write fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    "error, status", [(BrokenPipeError(32, "Broken pipe"), 0), (OSError(28, "No space left on device"), 2)]
)
@pytest.mark.parametrize("command", ["recipes", "train sinusoid-5shot --iterations 2 --meta-batch 2"])
def test_failing_output_does_not_stop_training(tmp_path, monkeypatch, error, status, command):
    """A reader that exits is no error; a full disk behind `> log` is reported at the end. Either way the run is saved."""
    monkeypatch.chdir(tmp_path)
    err = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Broken(error))
    monkeypatch.setattr(sys, "stderr", err)
    assert cli.main(command.split()) == status
    assert ("some of the output could not be written ([Errno 28] No space left" in err.getvalue()) == (status == 2)
    if command.startswith("train"):
        assert checkpoints.load(Path("runs/sinusoid-5shot/checkpoint.pt"))["iteration"] == 2
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", Broken(error))  # only messages are lost
    assert cli.main(["train", "sinusoid-5shot", "--iterations", "2", "--meta-batch", "2"]) == 0


def test_closed_consoles_discard_output(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert list(progress(range(3), "without a bar")) == [0, 1, 2]
    with safe_consoles() as out:
        print("nobody", flush=True)
        print("hears", file=sys.stderr, flush=True)
        assert isinstance(sys.stderr, Console) and out.failure is None
    assert sys.stdout is None and sys.stderr is None


# In separate processes, to include what Python itself does at startup and exit.

MAML = f"'{sys.executable}' -m maml_core"
TINY = f"{MAML} train sinusoid-5shot --iterations 3 --meta-batch 2 --out run"


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.parametrize(
    "line, expected",
    [
        (f"{{ {MAML} recipes; echo status $? >&2; }} | true", "status 0\n"),  # nothing reads the output
        (f"{{ {TINY} 2>&1; echo status $? >&2; }} | head -1", "Training sinusoid-5shot on sinusoid into run\nstatus 0\n"),
        (f"{TINY} >&- 2>&-; echo status $?", "status 0\n"),
        (f"PYTHONIOENCODING=ascii {TINY} 2>&-; echo status $?", "+/-"),
    ],
    ids=["| true", "2>&1 | head -1", ">&- 2>&-", "ascii 2>&-"],
)
def test_shell_line_exits_quietly(tmp_path, line, expected):
    done = subprocess.run(line, shell=True, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    output = done.stdout.decode()
    if expected == "+/-":
        assert expected in output and output.endswith("status 0\n")
    else:
        assert sorted(output.splitlines()) == sorted(expected.splitlines())
    if "train" in line:
        assert checkpoints.load(tmp_path / "run" / "checkpoint.pt")["iteration"] == 3


def test_no_bar_where_the_environment_says_so(monkeypatch):
    """Also in a notebook, whose bar does not look at tqdm's own variable."""
    for value, hidden in (("1", True), ("0", False)):
        monkeypatch.setenv("TQDM_DISABLE", value)
        with progress(None, "a bar", 3) as bar:
            assert bar.disable is hidden
