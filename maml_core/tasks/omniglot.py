"""Omniglot (Lake, Salakhutdinov, Tenenbaum 2015): 1,623 characters, each drawn by 20 people.

`load_omniglot` returns one uint8 tensor from the first of these that is there: our cache (one file), the pictures in any
of the layouts that `omniglot_tree` knows, torchvision's download.
"""

import os
import socket
import sys
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from ..util.atomic_files import folder_lock, write_atomically
from ..util.checks import one_of, positive
from ..util.progress import progress
from .disk.listing import File, data_root
from .disk.omniglot_tree import PAPER, SIZE, Tree, difference, find_trees, missing_part
from .disk.pictures import need_pillow, read_picture

if TYPE_CHECKING:
    from PIL.Image import Image

CHARACTERS, DRAWINGS = 1623, 20
PATIENCE = 120.0  # seconds that a process waits for another to read or download the pictures
CACHE = "omniglot-28x28-v1.pt"
RESAMPLINGS = ("lanczos", "nearest")  # ways of shrinking the pictures


def load_omniglot(root: Path | str | None = None, download: bool = False, timeout: float = 10.0) -> Tensor:
    """All of Omniglot: uint8 [1623, 20, 28, 28], ink 255 on paper 0.

    Classes come in the order of their paths: 964 background characters, then 659 evaluation characters;
    drawings in the order of their drawers. Pictures are scaled from 105x105 with a Lanczos filter on grey values; those of
    `omniglot_resized` are 28x28 already and taken as they are, and differ slightly from ours (the MAML authors' script
    scales with nearest-neighbour).

    root:      default `data_root()`; `omniglot_tree.find_trees` says where below it Omniglot may be
    download:  if neither cache nor pictures are there, let torchvision fetch them (`timeout` in seconds for each
               answer of the network); the environment variable MAML_DOWNLOAD=0 forbids it
    If several processes start together, one reads the pictures (or downloads them), and the others wait for it.
    Raises FileNotFoundError if there is no Omniglot, and ValueError if it is damaged, incomplete or has surplus files, or
    cannot be read because Pillow is missing.
    """
    positive(timeout=timeout)
    root = data_root() if root is None else Path(root)
    download = download and os.environ.get("MAML_DOWNLOAD") != "0"
    if (root / CACHE).exists():
        return _read_cache(root / CACHE)
    if download:
        _make_folder(root)
    with folder_lock(root, wait=PATIENCE):
        return _load_alone(root, download, timeout)


def read_omniglot(root: Path | str | None = None, resampling: str = "lanczos") -> Tensor:
    """Omniglot's pictures from disk, without the cache: as `load_omniglot` returns them, or shrunk in another way.

    resampling:  one of RESAMPLINGS; "nearest" is what the authors' script comes to. Pictures that are 28x28 already are
                 taken as they are.
    Raises FileNotFoundError if there are no pictures, and ValueError as `load_omniglot` does.
    """
    one_of(RESAMPLINGS, resampling=resampling)
    root = data_root() if root is None else Path(root)
    trees = find_trees(root)
    if not _is_whole(trees):
        raise missing_part(root, trees)
    return _read_trees(list(trees.values()), resampling)


def _load_alone(root: Path, download: bool, timeout: float) -> Tensor:
    cache = root / CACHE
    if cache.exists():  # another process wrote it in the meantime
        return _read_cache(cache)
    trees = find_trees(root)
    if not _is_whole(trees) and download:  # one part alone is a download that was cut off
        _download(root, timeout)
        trees = find_trees(root)
    if not _is_whole(trees):
        raise missing_part(root, trees)
    images = _read_trees(list(trees.values()))
    _write_cache(images, cache)
    return images


def _is_whole(trees: dict[str, Tree]) -> bool:
    return sum(len(tree.expected) for tree in trees.values()) == CHARACTERS


def _make_folder(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileNotFoundError(
            f"There is no Omniglot, and the folder {root} to download it to cannot be created ({error.strerror}): "
            "set MAML_DATA to a folder that can be written to."
        ) from error


def _read_cache(cache: Path) -> Tensor:
    remedy = f"Delete {cache}, and it is rebuilt from the images."
    try:
        images = torch.load(cache, weights_only=True)
    except Exception as error:
        raise ValueError(f"The cache of Omniglot cannot be read ({type(error).__name__}). {remedy}") from error
    whole = isinstance(images, Tensor) and images.shape == (CHARACTERS, DRAWINGS, SIZE, SIZE)
    if not whole or images.dtype != torch.uint8:
        raise ValueError(f"The cache of Omniglot does not hold 1623 x 20 pictures. {remedy}")
    return images


def _write_cache(images: Tensor, cache: Path) -> None:
    """Write the cache; if the folder is not writable, print a line and go on without it."""
    try:
        write_atomically(cache, lambda file: torch.save(images, file))
    except OSError as error:
        print(f"Omniglot was read but not cached ({error}); the next start reads the images again.", file=sys.stderr)


def _read_trees(trees: list[Tree], resampling: str = "lanczos") -> Tensor:
    need_pillow()
    characters = [(tree, name) for tree in trees for name in tree.expected]
    images = np.empty((len(characters), DRAWINGS, SIZE, SIZE), np.uint8)
    for (tree, name), out in zip(progress(characters, "reading Omniglot"), images):
        files = tree.characters[name]
        _check_drawings(tree, name, [file.name for file in files])
        for i, file in enumerate(files):
            out[i] = _read_image(file, tree.remedy, tree.sides, resampling)
    return torch.from_numpy(images)


def _check_drawings(tree: Tree, name: str, files: list[str]) -> None:
    """They are called 0683_01.png to 0683_20.png, with the character's number in front."""
    if len(files) == DRAWINGS:
        return
    fronts = [file.partition("_")[0] for file in files]
    front = max(fronts, key=fronts.count, default="")
    apart = difference(files, [f"{front}_{i + 1:02}.png" for i in range(DRAWINGS)])
    remedy = tree.remedy if len(files) < DRAWINGS else "move what is surplus elsewhere"
    told = f" ({apart})" if files else ""
    raise ValueError(f"{tree.place / name} has {len(files)} drawings instead of {DRAWINGS}{told}: {remedy}.")


def _read_image(file: File, remedy: str, sides: tuple[int, ...] = (PAPER,), resampling: str = "lanczos") -> np.ndarray:
    image = read_picture(file, "L", remedy)
    width, height = image.size
    if width != height or width not in sides:
        sizes = " or ".join(f"{side} x {side}" for side in sides)
        raise ValueError(f"{file} has {width} x {height} pixels instead of {sizes}: {remedy}.")
    return shrink(image, resampling) if width != SIZE else 255 - np.asarray(image)


def shrink(image: "Image", resampling: str = "lanczos") -> np.ndarray:
    """A picture of 105x105, black ink on white, as uint8 [28, 28], ink 255 on paper 0; resampling: one of RESAMPLINGS."""
    from PIL.Image import Resampling

    # The files are 1-bit, and Pillow silently resizes those with NEAREST: grey first, then Lanczos.
    return 255 - np.asarray(image.convert("L").resize((SIZE, SIZE), Resampling[resampling.upper()]))


def _download(root: Path, timeout: float) -> None:
    try:
        from torchvision.datasets import Omniglot
    except ImportError as error:
        raise FileNotFoundError("Downloading Omniglot needs torchvision: pip install torchvision.") from error

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)  # torchvision sets none: a network that drops packets would hang forever
    try:
        for background in (True, False):
            Omniglot(str(root), background=background, download=True)
    except (OSError, RuntimeError, HTTPException, BadZipFile) as error:
        raise FileNotFoundError(
            f"Omniglot could not be downloaded ({error}): try again later, or unpack its two archives into "
            f"{root / 'omniglot-py'} by hand."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
