"""`make bench`: the environment of the benchmark, which holds the peers and nothing else.

It sees the packages of the Python that runs this script by a path file, so that torch is not installed twice and
every side runs on the same one. A peer that cannot be had is told in one line; the benchmark goes on without it.
"""

import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from pathlib import Path, PurePosixPath

PEERS = ("torchopt==0.7.3", "higher==0.2.1", "jax==0.10.2")
LEARN2LEARN = "0.2.0"

# learn2learn's parts in C do not build on today's Python, and its MAML needs none of them.
LEARN2LEARN_FILES = ("algorithms/base_learner.py", "algorithms/maml.py", "utils/__init__.py", "utils/lightning.py")


def pip(python: Path, *arguments: str) -> str | None:
    """Run pip quietly; None when it went well, else the last line of its message."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return None if done.returncode == 0 else (lines or ["pip gave no reason"])[-1]


def unpack_learn2learn(sdist: Path, packages: Path) -> None:
    """Lay the pure-Python part of a source distribution into `packages`, with empty parent packages.

    The real parents import gym and torchvision's data sets, which MAML does not need.
    """
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if str(inside) == "PKG-INFO":  # tells importlib.metadata the version
                target = packages / f"learn2learn-{LEARN2LEARN}.dist-info" / "METADATA"
            elif str(inside) in (f"learn2learn/{name}" for name in LEARN2LEARN_FILES):
                target = packages / inside
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.extractfile(member).read())
    for parent in ("learn2learn", "learn2learn/algorithms"):
        (packages / parent / "__init__.py").touch()


def install_learn2learn(python: Path, packages: Path) -> str | None:
    """Fetch and unpack it; None when it went well, else why not."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", folder)
        if problem := pip(python, "download", *options, f"learn2learn=={LEARN2LEARN}"):
            return problem
        unpack_learn2learn(next(Path(folder).glob("learn2learn*.tar.gz")), packages)
    return None


def main(folder: Path) -> None:
    """Make the environment, or complete it."""
    python, paths = folder / "bin" / "python", {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    if not python.exists():
        print(f"Making {folder} with the peers: some 400 MB.", flush=True)
        venv.create(folder, with_pip=True, clear=True)
    (packages / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    problems = {peer: pip(python, "install", peer) for peer in PEERS}
    problems["learn2learn"] = install_learn2learn(python, packages)
    for peer, problem in problems.items():
        if problem:
            print(f"{peer} cannot be had, the benchmark goes on without it: {problem}")
    if not any(problems.values()):
        (folder / ".installed").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
