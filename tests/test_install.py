"""What `make` installs: the build of torch that fits the machine, whatever the network does."""

import functools
import http.server
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PINNED = re.search(r"^torch==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[1]
NO_OPTION: list[str] = []

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch has one build only")
with_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def build() -> ModuleType:
    """tools/torch_build.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("torch_build", ROOT / "tools" / "torch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def index(tmp_path):
    """A package index on this machine that lists torch."""
    (tmp_path / "index" / "torch").mkdir(parents=True)
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=tmp_path / "index"))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["refuses", "is silent", "has no torch", "sends rubbish", "is no address", "name server hangs"])
def dead_index(request, index, monkeypatch):
    """An index of which nothing can be had."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if request.param == "refuses":
            listening.close()
        elif request.param == "sends rubbish":

            def send() -> None:
                listening.accept()[0].sendall(b"rubbish\r\n\r\n")

            threading.Thread(target=send, daemon=True).start()
        elif request.param == "name server hangs":
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(5))
        yield {"has no torch": f"{index}/nothing", "is no address": "http://user@:x"}.get(
            request.param, f"http://127.0.0.1:{port}"
        )


def test_an_index_answers(build, index):
    assert build.answers(index, limit=5) and build.answers(index + "/", limit=5)
    assert build.answers("file:///opt/mirror", limit=5)


def test_a_dead_index_costs_no_more_than_its_limit(build, dead_index):
    start = time.monotonic()
    assert not build.answers(dead_index, limit=0.3)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("driver", "nvidia_smi", "expected"),
    [
        (False, None, False),
        (True, None, True),
        (False, "echo 'GPU 0: NVIDIA H100'", True),
        (False, "echo 'No devices found.'; exit 6", False),
        (False, "echo 'No devices found.'", False),
        (False, "exec /no/such/program", False),
    ],
)
def test_a_driver_or_a_listed_gpu_is_a_gpu(build, tmp_path, monkeypatch, driver, nvidia_smi, expected):
    (tmp_path / "bin").mkdir()
    if nvidia_smi:
        command = tmp_path / "bin" / "nvidia-smi"
        command.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(build, "DRIVER", tmp_path if driver else tmp_path / "none")
    assert build.has_nvidia_gpu() is expected


CHOICES = [  # wish, GPU, installed build -> build, is the index used, what the sentence tells
    ("auto", False, None, "cpu", True, ("1.5 GB", "without an NVIDIA GPU", "TORCH=cuda")),
    ("auto", True, None, "cuda", False, ("6 GB", "GPU libraries", "TORCH=cpu")),
    ("cpu", True, None, "cpu", True, ("1.5 GB",)),
    ("cuda", False, None, "cuda", False, ("6 GB", "GPU libraries")),
    ("auto", False, "cuda", "cuda", False, ("up to date",)),
    ("auto", True, "cpu", "cpu", True, ("up to date",)),
    ("cuda", False, "cpu", "cuda", False, ("6 GB", "GPU libraries")),
    ("cpu", True, "cuda", "cpu", True, ("1.5 GB",)),
]


@pytest.mark.parametrize(("wish", "gpu", "installed", "expected", "from_index", "told"), CHOICES)
def test_the_build_fits_the_machine(build, index, monkeypatch, wish, gpu, installed, expected, from_index, told):
    monkeypatch.setattr(build, "has_nvidia_gpu", lambda: gpu)
    chosen, options, sentence = build.choose(wish, index, 5, installed)
    assert (chosen, options) == (expected, ["--extra-index-url", index] if from_index else NO_OPTION)
    assert all(word in sentence for word in told)


def test_without_the_index_pip_goes_on_with_pypi(build, dead_index, monkeypatch):
    monkeypatch.setattr(build, "has_nvidia_gpu", lambda: False)
    chosen, options, sentence = build.choose("auto", dead_index, 0.3, None)
    assert (chosen, options) == ("cuda", NO_OPTION)
    assert dead_index in sentence and "PyPI" in sentence and "5 GB more" in sentence
    assert build.choose("cpu", dead_index, 0.3, "cpu")[:2] == ("cpu", NO_OPTION)
    with pytest.raises(ConnectionError, match="TORCH_INDEX.*TORCH=cpu.*5 GB"):
        build.choose("cpu", dead_index, 0.3, None)


def test_an_index_that_is_not_needed_is_not_asked(build, monkeypatch):
    monkeypatch.setattr(build, "answers", lambda *_: pytest.fail("was asked"))
    build.choose("cuda", "http://127.0.0.1:9", 5, None)


def test_the_lock_has_every_pinned_version_and_no_build_of_torch():
    pinned = re.findall(r"^[\w-]+==\S+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    locked = (ROOT / "requirements.lock").read_text()
    assert set(pinned) <= set(locked.split()), "make lock writes it anew"
    assert "+" not in locked and "nvidia-" not in locked


# From here on: the Makefile itself, in a copy whose .venv has a Python that installs nothing.

PYTHON = f"""#!/bin/sh
# Bare, as in a new .venv: without site-packages. Of pip it has the version, and notes the rest.
case "$*" in
  "-m pip --version") ;;
  "-m pip "* | "-m jupyterlab"*) printf '%s|' "$@" >> calls; echo >> calls; exit "${{FAILS:-0}}";;
  *) exec "{sys.executable}" -S "$@";;
esac
"""


@pytest.fixture
def copy(tmp_path):
    """A function that calls make in a copy of what an installation reads, and gives its end and what pip was asked for."""
    folder = tmp_path / "a folder with spaces"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "tools/torch_build.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    python = folder / ".venv" / "bin" / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    calls = folder / "calls"

    def make(*arguments: str, **variables: str) -> tuple[subprocess.CompletedProcess, list[list[str]]]:
        calls.write_text("")
        unset = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "TORCH", "TORCH_INDEX", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        done = subprocess.run(
            ["make", *arguments], cwd=folder, env=kept | variables, capture_output=True, text=True, timeout=60
        )
        return done, [line.split("|")[:-1] for line in calls.read_text().splitlines()]

    make.folder = folder
    return make


def installs(calls: list[list[str]]) -> list[list[str]]:
    """The options of every `pip install`, without those that are always there."""
    usual = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt")
    return [[word for word in call if word not in usual] for call in calls if "install" in call]


def pretend_installed(folder: Path, version: str) -> dict[str, str]:
    """Variables under which this version of torch is there."""
    found = folder / "packages" / "torch.dist-info"
    shutil.rmtree(found.parent, ignore_errors=True)
    found.mkdir(parents=True)
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    return {"PYTHONPATH": str(found.parent)}


@with_make
@on_linux
def test_pip_is_given_the_index(copy, index):
    done, calls = copy("lab", "TORCH=cpu", f"TORCH_INDEX={index}")
    assert done.returncode == 0 and installs(calls) == [["--extra-index-url", index]]
    assert "1.5 GB" in done.stderr
    assert f"--ServerApp.root_dir={copy.folder}" in calls[-1]  # one word, spaces and all


@with_make
@on_linux
def test_cuda_overrides_and_auto_looks_at_the_machine(copy, index, build):
    done, calls = copy("lab", "TORCH=cuda", f"TORCH_INDEX={index}")
    assert installs(calls) == [NO_OPTION] and "6 GB" in done.stderr
    (copy.folder / ".venv" / ".installed").unlink()
    done, calls = copy("lab", f"TORCH_INDEX={index}")
    assert installs(calls) == [NO_OPTION if build.has_nvidia_gpu() else ["--extra-index-url", index]]


@with_make
def test_an_installation_is_not_repeated_unless_another_build_is_asked_for(copy, index):
    where = f"TORCH_INDEX={index}"
    asked = [len(installs(copy("lab", where, *more)[1])) for more in ((), (), ("TORCH=cuda",), ("TORCH=cuda",), ())]
    assert asked == [1, 0, 1, 0, 0]


@with_make
@on_linux
def test_another_build_takes_the_place_of_the_installed_one(copy, index):
    for installed, wish, options in ((f"{PINNED}+cpu", "cuda", NO_OPTION), (PINNED, "cpu", ["--extra-index-url", index])):
        there = pretend_installed(copy.folder, installed)
        done, calls = copy(".venv/.installed", f"TORCH={wish}", f"TORCH_INDEX={index}", **there)
        assert done.returncode == 0 and calls[0][-4:] == ["uninstall", "--yes", "torch", "torchvision"]
        assert installs(calls[1:]) == [options]


@with_make
@on_linux
def test_torch_stays_when_something_else_changes(copy):
    there = pretend_installed(copy.folder, PINNED)
    done, calls = copy(".venv/.installed", "TORCH_INDEX=http://127.0.0.1:9", **there)
    assert installs(calls) == [NO_OPTION] and "uninstall" not in sum(calls, []) and "up to date" in done.stderr


@with_make
@on_linux
def test_cpu_that_cannot_be_had_installs_nothing(copy):
    there = pretend_installed(copy.folder, PINNED)
    done, calls = copy("lab", "TORCH=cpu", "TORCH_INDEX=http://127.0.0.1:9", **there)
    assert done.returncode and not calls and "http://127.0.0.1:9" in done.stderr and "Traceback" not in done.stderr


@with_make
def test_a_failed_installation_is_taken_up_again(copy):
    assert installs(copy("lab")[1])
    done, calls = copy("lab", "TORCH=cuda", FAILS="1")
    assert done.returncode and "next call of make goes on" in done.stderr
    assert installs(copy("lab")[1])


@with_make
@pytest.mark.parametrize("wish", ["gpu", "CUDA", ""])
def test_another_word_is_refused(copy, wish):
    done, calls = copy("lab", f"TORCH={wish}")
    assert done.returncode and not calls and f'TORCH is "{wish}", but it can be auto, cpu or cuda' in done.stderr


@with_make
@on_linux
def test_pip_keeps_the_users_own_indexes(tmp_path, index):
    """What the option relies on: pip adds it to its variables and settings. Nothing is found, and nothing installed."""
    settings = tmp_path / "pip.conf"
    for variables in ({"PIP_EXTRA_INDEX_URL": f"{index}/own"}, {"PIP_CONFIG_FILE": str(settings)}):
        settings.write_text(f"[global]\nextra-index-url = {index}/own\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "0", "--dest", str(tmp_path)]
        asked = subprocess.run(
            [*command, "--index-url", f"{index}/main", "--extra-index-url", index, "a-package-that-is-nowhere"],
            env=os.environ | variables, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip
        assert all(f"{index}{part}" in asked.splitlines()[0].split(": ")[1].split(", ") for part in ("/main", "/own", ""))
