"""Choose the build of torch for this machine: print pip's options for it, and announce the installation on stderr.

On Linux the builds on PyPI come with 5 GB of GPU libraries. PyTorch's own index has builds without them, such as
2.15.0+cpu: ==2.15.0 accepts it, and pip prefers it to a plain 2.15.0. The index is used in addition to any that pip is
configured with. The Makefile runs this in a .venv that may still be empty, so it only uses the standard library.
"""

import argparse
import re
import shutil
import subprocess
import sys
import urllib.request
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"  # not sys.executable: never uninstall from another environment
DRIVER = Path("/proc/driver/nvidia/version")
SIZES = {"cpu": "about 1.5 GB", "cuda": "about 6 GB with torch's GPU libraries"}


def has_nvidia_gpu() -> bool:
    """Whether the driver is loaded, or nvidia-smi lists a GPU (the only sign of one in containers and WSL)."""
    if DRIVER.exists():
        return True
    if not (command := shutil.which("nvidia-smi")):
        return False
    try:
        listed = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=5)
    except subprocess.TimeoutExpired:
        return True  # the driver is slow to start
    except OSError:
        return False
    return listed.returncode == 0 and "GPU" in listed.stdout


def answers(index: str, limit: float) -> bool:
    """Whether the package index lists torch; False after `limit` seconds, even if the name server hangs."""
    if not index.startswith(("http://", "https://")):
        return True  # a local folder
    found = []

    def ask() -> None:
        with suppress(Exception), urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=limit):
            found.append(index)

    thread = Thread(target=ask, daemon=True)  # urlopen's timeout does not cover name resolution
    thread.start()
    thread.join(limit)
    return bool(found)


def installed_build() -> str | None:
    """The installed build of the required torch version, "cpu" or "cuda"; None if it is not installed."""
    required = re.search(r"^torch==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    try:
        public, _, local = version("torch").partition("+")
    except PackageNotFoundError:
        return None
    if not required or public != required[1]:
        return None
    return "cpu" if local == "cpu" else "cuda"


def choose(torch: str, index: str, limit: float, installed: str | None) -> tuple[str, list[str], str]:
    """The build for the requested one ("auto", "cpu" or "cuda"), pip's options, and one sentence that announces it.

    "auto" keeps an installed build. Raises ConnectionError if "cpu" is requested and its index cannot be reached.
    """
    build = torch if torch != "auto" else installed or ("cuda" if has_nvidia_gpu() else "cpu")
    options = ["--extra-index-url", index] if build == "cpu" and answers(index, limit) else []
    if build == installed:
        return build, options, "Bringing .venv up to date with requirements.txt."
    if build == "cpu" and not options:
        if torch == "cpu":
            raise ConnectionError(
                f"torch's CPU build is at {index}, which cannot be reached: name a mirror (TORCH_INDEX=URL), or leave "
                f"TORCH=cpu out to install the build with GPU libraries from PyPI, about 5 GB more."
            )
        return "cuda", [], (
            f"Installing into .venv (a few minutes, about 6 GB): torch's CPU build would do on this machine, but {index} "
            f"cannot be reached, so pip installs the build with GPU libraries from PyPI, about 5 GB more."
        )  # fmt: skip
    why = {
        "cpu": "; without an NVIDIA GPU, torch's CPU build is enough (make TORCH=cuda lab overrides this)",
        "cuda": " (make TORCH=cpu lab leaves them out)",
    }
    return build, options, f"Installing into .venv: a few minutes, {SIZES[build]}{why[build] if torch == 'auto' else ''}."


def main() -> None:
    """Uninstall torch if it is not the chosen build, and print pip's options for installing that build."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("torch", choices=("auto", "cpu", "cuda"))
    parser.add_argument("index", help="package index with torch's CPU builds")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds to wait for the index")
    args = parser.parse_args()
    if sys.platform != "linux":  # there is only one build, without GPU libraries
        return print("Installing requirements.txt into .venv: a few minutes, about 1.5 GB.", file=sys.stderr)
    installed = installed_build()
    try:
        build, options, sentence = choose(args.torch, args.index, args.limit, installed)
    except ConnectionError as error:
        sys.exit(str(error))
    print(sentence, file=sys.stderr, flush=True)
    if installed not in (None, build):  # pip does not distinguish the builds
        pip = [str(PYTHON), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        if problem := subprocess.run([*pip, "uninstall", "--yes", "torch", "torchvision"], stdout=sys.stderr).returncode:
            sys.exit(problem)
    print(*options)


if __name__ == "__main__":
    main()
