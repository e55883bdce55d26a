"""Omniglot (Lake, Salakhutdinov, Tenenbaum 2015): 1,623 characters, each drawn by 20 people.

`load_omniglot` gives one uint8 tensor from, in this order: our cache (one file), an unpacked tree in
torchvision's layout, torchvision's download.
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

from .checks import positive
from .files import sole_user, write_whole
from .progress import progress

if TYPE_CHECKING:
    from PIL.Image import Image

CHARACTERS, DRAWINGS, SIZE = 1623, 20, 28
PAPER = 105  # pixels on each side of a file's picture
PATIENCE = 120.0  # seconds that a process waits for another one to read or download the pictures
UNREADABLE = (OSError, SyntaxError, ValueError)  # Pillow has all three for damaged files
PARTS = {"images_background": 964, "images_evaluation": 659}
CACHE = "omniglot-28x28-v1.pt"


def data_root() -> Path:
    """Where data lives: the environment variable MAML_DATA, else `data/` of the checkout, else `./data`."""
    if os.environ.get("MAML_DATA"):
        return Path(os.environ["MAML_DATA"]).expanduser()
    checkout = Path(__file__).resolve().parent.parent
    return (checkout if (checkout / "pyproject.toml").exists() else Path.cwd()) / "data"


def load_omniglot(root: Path | str | None = None, download: bool = False, timeout: float = 10.0) -> Tensor:
    """All of Omniglot: uint8 [1623, 20, 28, 28], ink 255 on paper 0.

    Classes come in the order of their paths: 964 background characters, then 659 evaluation characters;
    drawings in the order of their drawers. Pictures are scaled from 105x105 with a Lanczos filter on grey values.

    root:      default `data_root()`
    download:  when neither cache nor tree is there, let torchvision fetch it (`timeout` in seconds for each
               answer of the network); the environment variable MAML_DOWNLOAD=0 forbids it
    Of several processes that start together one reads the pictures (or downloads them), and the others wait for it.
    Raises FileNotFoundError when there is no Omniglot, and ValueError when what is there is damaged.
    """
    positive(timeout=timeout)
    root = data_root() if root is None else Path(root)
    download = download and os.environ.get("MAML_DOWNLOAD") != "0"
    if (root / CACHE).exists():
        return _read_cache(root / CACHE)
    if download:
        _make_folder(root)
    with sole_user(root, wait=PATIENCE):
        return _load_alone(root, download, timeout)


def _load_alone(root: Path, download: bool, timeout: float) -> Tensor:
    cache = root / CACHE
    if cache.exists():  # another process wrote it in the meantime
        return _read_cache(cache)
    tree = root / "omniglot-py"
    missing = [part for part in PARTS if not (tree / part).is_dir()]
    if missing and download:  # one part alone is a download that was cut off
        _download(root, timeout)
    elif len(missing) == len(PARTS):
        raise FileNotFoundError(
            f"No Omniglot under {root}: unpack images_background.zip and images_evaluation.zip into {tree}, "
            "or allow the download, or set MAML_DATA to a folder that has it."
        )
    images = _read_tree(tree)
    _write_cache(images, cache)
    return images


def _make_folder(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileNotFoundError(
            f"There is no Omniglot, and {root} cannot be made to download it to ({error.strerror}): "
            "set MAML_DATA to a folder that can be written to."
        ) from error


def _read_cache(cache: Path) -> Tensor:
    remedy = f"Delete {cache} and it is made anew from the images."
    try:
        images = torch.load(cache, weights_only=True)
    except Exception as error:
        raise ValueError(f"The cache of Omniglot cannot be read ({type(error).__name__}). {remedy}") from error
    whole = isinstance(images, Tensor) and images.shape == (CHARACTERS, DRAWINGS, SIZE, SIZE)
    if not whole or images.dtype != torch.uint8:
        raise ValueError(f"The cache of Omniglot does not hold 1623 x 20 pictures. {remedy}")
    return images


def _write_cache(images: Tensor, cache: Path) -> None:
    """A folder that cannot be written to goes without."""
    try:
        write_whole(cache, lambda file: torch.save(images, file))
    except OSError as error:
        print(f"Omniglot was read but not cached ({error}); the next start reads the images again.", file=sys.stderr)


def _read_tree(tree: Path) -> Tensor:
    remedy = f"Delete {tree} and unpack both archives again."
    folders = []
    for part, expected in PARTS.items():
        found = sorted(folder for folder in (tree / part).glob("*/*") if folder.is_dir())
        if len(found) != expected:
            raise ValueError(f"{tree / part} has {len(found)} characters instead of {expected}. {remedy}")
        folders += found
    images = np.empty((CHARACTERS, DRAWINGS, SIZE, SIZE), np.uint8)
    for folder, out in zip(progress(folders, "reading Omniglot"), images):
        files = sorted(folder.glob("*.png"))
        if len(files) != DRAWINGS:
            raise ValueError(f"{folder} has {len(files)} drawings instead of {DRAWINGS}. {remedy}")
        for i, file in enumerate(files):
            out[i] = _read_image(file, remedy)
    return torch.from_numpy(images)


def _read_image(file: Path, remedy: str) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as image:
            size, small = image.size, shrink(image)
    except UNREADABLE as error:
        raise ValueError(f"{file} is not a readable picture. {remedy}") from error
    if size != (PAPER, PAPER):
        raise ValueError(f"{file} has {size[0]} x {size[1]} pixels instead of {PAPER} x {PAPER}. {remedy}")
    return small


def shrink(image: "Image") -> np.ndarray:
    """A picture of 105x105, black ink on white, as uint8 [28, 28] with ink 255 on paper 0."""
    from PIL.Image import Resampling

    # The files are 1-bit, and Pillow silently resizes those with NEAREST: grey first, then Lanczos.
    return 255 - np.asarray(image.convert("L").resize((SIZE, SIZE), Resampling.LANCZOS))


def _download(root: Path, timeout: float) -> None:
    try:
        from torchvision.datasets import Omniglot
    except ImportError as error:
        raise FileNotFoundError("Downloading Omniglot needs torchvision: pip install torchvision.") from error

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)  # torchvision sets none: a network that drops packets would hang for ever
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
