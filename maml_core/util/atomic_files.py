"""Atomic file writes, and a lock that gives one process exclusive use of a folder."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

LOCK = ".lock"  # exists only while a process holds the lock


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], previous: Path | None = None) -> None:
    """Write a temporary file, flush it to disk and rename it, so that readers see the old content or the new, never a mix.

    previous: where to keep the old content, also written atomically
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            _copy_atomically(path, previous)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """`write_atomically` for content that is at hand."""
    write_atomically(path, lambda file: file.write(content))


def check_writable(file: Path, remedy: str) -> None:
    """Raise OSError, ending in the remedy, if `file` cannot be written; the check leaves no files behind."""
    nearest = next(folder for folder in file.absolute().parents if os.path.lexists(folder))
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(f"{file} could not be written ({error.strerror}): {remedy}.") from error


def _copy_atomically(path: Path, copy: Path) -> None:
    """Hard-link `path` to `copy`, or copy it if the file system has no hard links; `copy` is replaced atomically."""
    part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)
    os.replace(part, copy)


def remove_partial_files(folder: Path) -> None:
    """Delete temporary files left behind by a killed process; call this only while holding the folder's lock."""
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def folder_lock(folder: Path, wait: float = 0.0) -> Iterator[bool]:
    """Hold an advisory lock on a folder: yields True, or False if another process holds it.

    wait: seconds to wait for the lock. The lock is a file in the folder, removed on release. It is released when its
    process ends, even if killed: a leftover file locks nobody out. Yields True, without a lock, if the folder does not
    exist or cannot be written to.
    """
    if not folder.is_dir():
        yield True
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError):
        yield True
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            # Before the release, so that a process that has just opened the file notices and creates a new one.
            os.unlink(lock.lock_file)
        lock.release()
