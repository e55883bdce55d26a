"""What `make` installs: the build of torch for this machine, whatever the state of the network."""

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

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="torch has only one build elsewhere")
with_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def build() -> ModuleType:
    """tools/torch_build.py, a script outside of any package."""
    spec = importlib.util.spec_from_file_location("torch_build", ROOT / "tools" / "torch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def index(tmp_path):
    """A local package index that lists torch."""
    (tmp_path / "index" / "torch").mkdir(parents=True)
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=tmp_path / "index"))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["refuses", "is silent", "has no torch", "sends rubbish", "is no address", "name server hangs"])
def dead_index(request, index, monkeypatch):
    """An index that cannot be used."""
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


def test_working_index_answers(build, index):
    assert build.answers(index, limit=5) and build.answers(index + "/", limit=5)
    assert build.answers("file:///opt/mirror", limit=5)


def test_dead_index_times_out(build, dead_index):
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
def test_gpu_is_found_by_its_driver_or_nvidia_smi(build, tmp_path, monkeypatch, driver, nvidia_smi, expected):
    (tmp_path / "bin").mkdir()
    if nvidia_smi:
        command = tmp_path / "bin" / "nvidia-smi"
        command.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(build, "DRIVER", tmp_path if driver else tmp_path / "none")
    assert build.has_nvidia_gpu() is expected


CHOICES = [  # requested build, GPU, installed build -> build, whether the index is used, words in the sentence
    ("auto", False, None, "cpu", True, ("1.5 GB", "without an NVIDIA GPU", "TORCH=cuda")),
    ("auto", True, None, "cuda", False, ("6 GB", "GPU libraries", "TORCH=cpu")),
    ("cpu", True, None, "cpu", True, ("1.5 GB",)),
    ("cuda", False, None, "cuda", False, ("6 GB", "GPU libraries")),
    ("auto", False, "cuda", "cuda", False, ("up to date",)),
    ("auto", True, "cpu", "cpu", True, ("up to date",)),
    ("cuda", False, "cpu", "cuda", False, ("6 GB", "GPU libraries")),
    ("cpu", True, "cuda", "cpu", True, ("1.5 GB",)),
]


@pytest.mark.parametrize(("torch", "gpu", "installed", "expected", "from_index", "words"), CHOICES)
def test_build_fits_the_machine(build, index, monkeypatch, torch, gpu, installed, expected, from_index, words):
    monkeypatch.setattr(build, "has_nvidia_gpu", lambda: gpu)
    chosen, options, sentence = build.choose(torch, index, 5, installed)
    assert (chosen, options) == (expected, ["--extra-index-url", index] if from_index else NO_OPTION)
    assert all(word in sentence for word in words)


def test_dead_index_falls_back_to_pypi(build, dead_index, monkeypatch):
    monkeypatch.setattr(build, "has_nvidia_gpu", lambda: False)
    chosen, options, sentence = build.choose("auto", dead_index, 0.3, None)
    assert (chosen, options) == ("cuda", NO_OPTION)
    assert dead_index in sentence and "PyPI" in sentence and "5 GB more" in sentence
    assert build.choose("cpu", dead_index, 0.3, "cpu")[:2] == ("cpu", NO_OPTION)
    with pytest.raises(ConnectionError, match="TORCH_INDEX.*TORCH=cpu.*5 GB"):
        build.choose("cpu", dead_index, 0.3, None)


def test_index_is_only_queried_if_needed(build, monkeypatch):
    monkeypatch.setattr(build, "answers", lambda *_: pytest.fail("was queried"))
    build.choose("cuda", "http://127.0.0.1:9", 5, None)


def test_lock_has_every_pinned_version_and_no_build_of_torch():
    required = [(ROOT / name).read_text() for name in ("requirements.txt", "requirements-site.txt")]
    pinned = re.findall(r"^[\w-]+==\S+", "\n".join(required), re.MULTILINE)
    locked = (ROOT / "requirements.lock").read_text()
    assert set(pinned) <= set(locked.split()), "make lock updates it"
    assert "+" not in locked and "nvidia-" not in locked


# The Makefile itself, in a copy whose .venv has a Python that installs nothing.

PYTHON = f"""#!/bin/sh
# Bare, as in a new .venv: without site-packages. Of pip it only has --version, and records all other calls.
case "$*" in
  "-m pip --version") ;;
  "-m pip "* | "-m jupyterlab"*) printf '%s|' "$@" >> calls; echo >> calls; exit "${{FAILS:-0}}";;
  *) exec "{sys.executable}" -S "$@";;
esac
"""


@pytest.fixture
def copy(tmp_path):
    """A function that runs make in a copy of the files for installation, and returns its result and the calls of pip."""
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
    """The options of every `pip install`, without those that are always given."""
    usual = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt")
    return [[word for word in call if word not in usual] for call in calls if "install" in call]


def pretend_installed(folder: Path, version: str) -> dict[str, str]:
    """Environment variables with which this version of torch appears to be installed."""
    found = folder / "packages" / "torch.dist-info"
    shutil.rmtree(found.parent, ignore_errors=True)
    found.mkdir(parents=True)
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    return {"PYTHONPATH": str(found.parent)}


@with_make
@on_linux
def test_pip_gets_the_index(copy, index):
    done, calls = copy("lab", "TORCH=cpu", f"TORCH_INDEX={index}")
    assert done.returncode == 0 and installs(calls) == [["--extra-index-url", index]]
    assert "1.5 GB" in done.stderr
    assert f"--ServerApp.root_dir={copy.folder}" in calls[-1]  # one word, including the spaces


@with_make
@on_linux
def test_cuda_overrides_auto(copy, index, build):
    done, calls = copy("lab", "TORCH=cuda", f"TORCH_INDEX={index}")
    assert installs(calls) == [NO_OPTION] and "6 GB" in done.stderr
    (copy.folder / ".venv" / ".installed").unlink()
    done, calls = copy("lab", f"TORCH_INDEX={index}")
    assert installs(calls) == [NO_OPTION if build.has_nvidia_gpu() else ["--extra-index-url", index]]


@with_make
def test_installation_is_only_repeated_for_another_build(copy, index):
    where = f"TORCH_INDEX={index}"
    counts = [len(installs(copy("lab", where, *more)[1])) for more in ((), (), ("TORCH=cuda",), ("TORCH=cuda",), ())]
    assert counts == [1, 0, 1, 0, 0]


@with_make
@on_linux
def test_another_build_replaces_the_installed_one(copy, index):
    for installed, torch, options in ((f"{PINNED}+cpu", "cuda", NO_OPTION), (PINNED, "cpu", ["--extra-index-url", index])):
        variables = pretend_installed(copy.folder, installed)
        done, calls = copy(".venv/.installed", f"TORCH={torch}", f"TORCH_INDEX={index}", **variables)
        assert done.returncode == 0 and calls[0][-4:] == ["uninstall", "--yes", "torch", "torchvision"]
        assert installs(calls[1:]) == [options]


@with_make
@on_linux
def test_torch_is_kept_when_other_requirements_change(copy):
    variables = pretend_installed(copy.folder, PINNED)
    done, calls = copy(".venv/.installed", "TORCH_INDEX=http://127.0.0.1:9", **variables)
    assert installs(calls) == [NO_OPTION] and "uninstall" not in sum(calls, []) and "up to date" in done.stderr


@with_make
@on_linux
def test_unreachable_cpu_build_installs_nothing(copy):
    variables = pretend_installed(copy.folder, PINNED)
    done, calls = copy("lab", "TORCH=cpu", "TORCH_INDEX=http://127.0.0.1:9", **variables)
    assert done.returncode and not calls and "http://127.0.0.1:9" in done.stderr and "Traceback" not in done.stderr


@with_make
def test_failed_installation_is_retried(copy):
    assert installs(copy("lab")[1])
    done, calls = copy("lab", "TORCH=cuda", FAILS="1")
    assert done.returncode and "Running make again continues" in done.stderr
    assert installs(copy("lab")[1])


@with_make
@pytest.mark.parametrize("torch", ["gpu", "CUDA", ""])
def test_unknown_build_is_rejected(copy, torch):
    done, calls = copy("lab", f"TORCH={torch}")
    assert done.returncode and not calls and f'TORCH is "{torch}", but it has to be auto, cpu or cuda' in done.stderr


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
