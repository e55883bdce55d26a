"""Files that are written whole or not at all, and folders that one process has for itself."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: there is no such lock, and two processes are on their own
    fcntl = None


def write_whole(path: Path, write: Callable[[IO[bytes]], None], previous: Path | None = None) -> None:
    """Write beside, flush to disk, rename: whoever reads `path` sees the old content or the new, never a part.

    previous: where the old content stays, whole as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            _copy_whole(path, previous)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def check_writable(file: Path, remedy: str) -> None:
    """OSError, ending in the remedy, if `file` could not be written; nothing is made or changed by asking."""
    nearest = next(folder for folder in file.absolute().parents if os.path.lexists(folder))
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(f"{file} could not be written ({error.strerror}): {remedy}.") from error


def _copy_whole(path: Path, copy: Path) -> None:
    """A second name for the same content where the file system has that, else a copy; never neither."""
    part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)
    os.replace(part, copy)


def remove_parts(folder: Path) -> None:
    """Delete what a process that was killed had begun to write; only for who has the folder to itself."""
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def sole_user(folder: Path, wait: float = 0.0) -> Iterator[bool]:
    """Have a folder to oneself, as far as others ask, too: True, or False if another process has it.

    wait: seconds in which it may become free. The lock is on the folder itself: no file is left behind, and it ends
    with its process, however that ends. Where there are no locks, everybody has the folder to himself.
    """
    if fcntl is None or not folder.is_dir():
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(handle, wait)
    finally:
        os.close(handle)


def _lock(handle: int, wait: float) -> bool:
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        except OSError:  # some network file systems know no locks
            return True
        else:
            return True
