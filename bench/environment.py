"""`make bench`: creates the benchmark's own environment, with the libraries we compare with and nothing else.

A path file gives it access to the packages of the Python that runs this script, so that torch is not installed twice and
every side uses the same one. If a library cannot be installed, one line says so and the benchmark goes on without it.
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

# learn2learn's C extensions do not build on current Python versions, and its MAML does not need them.
LEARN2LEARN_FILES = ("algorithms/base_learner.py", "algorithms/maml.py", "utils/__init__.py", "utils/lightning.py")


def pip(python: Path, *arguments: str) -> str | None:
    """Run pip quietly; returns None on success, else the last line of its error message."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return None if done.returncode == 0 else (lines or ["pip gave no reason"])[-1]


def unpack_learn2learn(sdist: Path, packages: Path) -> None:
    """Extract the pure-Python part of a source distribution into `packages`, with empty parent packages.

    The real parent packages import gym and torchvision's data sets, which MAML does not need.
    """
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if str(inside) == "PKG-INFO":  # where importlib.metadata finds the version
                target = packages / f"learn2learn-{LEARN2LEARN}.dist-info" / "METADATA"
            elif str(inside) in (f"learn2learn/{name}" for name in LEARN2LEARN_FILES):
                target = packages / inside
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.extractfile(member) as file:  # type: ignore[union-attr]  # None for folders only
                target.write_bytes(file.read())
    for parent in ("learn2learn", "learn2learn/algorithms"):
        (packages / parent / "__init__.py").touch()


def install_learn2learn(python: Path, packages: Path) -> str | None:
    """Download and unpack it; returns None on success, else the reason for the failure."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", folder)
        if problem := pip(python, "download", *options, f"learn2learn=={LEARN2LEARN}"):
            return problem
        unpack_learn2learn(next(Path(folder).glob("learn2learn*.tar.gz")), packages)
    return None


def main(folder: Path) -> None:
    """Create the environment, or complete an existing one."""
    python, paths = folder / "bin" / "python", {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    if not python.exists():
        print(f"Creating {folder} with the libraries to compare with, about 400 MB.", flush=True)
        venv.create(folder, with_pip=True, clear=True)
    (packages / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    problems = {peer: pip(python, "install", peer) for peer in PEERS}
    problems["learn2learn"] = install_learn2learn(python, packages)
    for peer, problem in problems.items():
        if problem:
            print(f"{peer} could not be installed, so the benchmark goes on without it: {problem}")
    if not any(problems.values()):
        (folder / ".installed").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
