"""Omniglot from a folder: a small imitation of the archives, and the real pictures where they are on disk."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from maml_core.tasks import characters as characters_module
from maml_core.tasks import load_characters, omniglot
from maml_core.tasks.disk import listing, omniglot_tree
from maml_core.tasks.disk.listing import data_root
from maml_core.tasks.disk.pictures import read_picture
from maml_core.tasks.omniglot import load_omniglot
from maml_core.util import atomic_files
from maml_core.util.atomic_files import folder_lock

# In the order that `load_omniglot` promises: background before evaluation, sorted by path within each. The first
# alphabet of all in the order of letters, Aleph, is an evaluation alphabet.
CLASSES = [
    ("images_background", "Beta", "character01"),
    ("images_background", "Beta", "character02"),
    ("images_background", "Gamma", "character01"),
    ("images_evaluation", "Aleph", "character01"),
    ("images_evaluation", "Zeta", "character09"),
]
DRAWINGS = 2


@pytest.fixture(autouse=True)
def downloads_are_allowed(monkeypatch) -> None:
    """The notebooks forbid them, to whoever tests in the same process; here they are imitated."""
    monkeypatch.delenv("MAML_DOWNLOAD", raising=False)


def picture(character: int, drawing: int) -> Image.Image:
    """A 1-bit picture of 105x105 (ink is 0) that no other class or drawing has: slanted strokes, which filters blur."""
    image = Image.new("1", (105, 105), 1)
    pen = ImageDraw.Draw(image)
    pen.line((10 + 17 * character, 10, 60, 90 - 20 * drawing), fill=0, width=3)
    pen.line((15, 30 + 13 * character, 85, 20 + 10 * drawing), fill=0, width=2)
    return image


def folder_of(root: Path, character: int) -> Path:
    """A class's folder in torchvision's layout."""
    return root.joinpath("omniglot-py", *CLASSES[character])


def file_of(root: Path, character: int, drawing: int) -> Path:
    """A drawing's file in torchvision's layout."""
    return folder_of(root, character) / f"{character + 1:04}_{drawing + 1:02}.png"


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A folder with five characters in two drawings, written in no order, and a module that expects as many."""
    parts = {part: [f"{alphabet}/{name}" for where, alphabet, name in CLASSES if where == part] for part, *_ in CLASSES}
    monkeypatch.setattr(omniglot_tree, "PARTS", parts)
    monkeypatch.setattr(omniglot, "CHARACTERS", len(CLASSES))
    monkeypatch.setattr(omniglot, "DRAWINGS", DRAWINGS)
    for character in (4, 2, 0, 3, 1):
        for drawing in (1, 0):
            file = file_of(tmp_path, character, drawing)
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(character, drawing).save(file)
    return tmp_path


def scaled(image: Image.Image, filter: Image.Resampling) -> np.ndarray:
    """28x28 with ink 255, in Pillow alone."""
    return 255 - np.asarray(image.convert("L").resize((28, 28), filter))


def no_download(monkeypatch, error: type[Exception] = AssertionError) -> None:
    """Let torchvision's download raise."""

    class Failing:
        def __init__(self, *arguments, **settings):
            raise error("no network")

    monkeypatch.setattr("torchvision.datasets.Omniglot", Failing)


def test_order_inversion_and_filter(root):
    """Each picture is where its path says, ink is 255, and the filter is Lanczos on grey and not NEAREST."""
    images = load_omniglot(root)
    assert images.shape == (5, 2, 28, 28) and images.dtype == torch.uint8
    for character in range(5):
        for drawing in range(DRAWINGS):
            original = picture(character, drawing)
            ours = images[character, drawing].numpy()
            assert np.array_equal(ours, scaled(original, Image.Resampling.LANCZOS))
            assert not np.array_equal(ours, scaled(original, Image.Resampling.NEAREST))
            # What Pillow makes of a 1-bit picture, whatever filter it is asked for, is not what we want.
            assert not np.array_equal(ours, 255 * (1 - np.asarray(original.resize((28, 28)), np.uint8)))
    assert 0 < (images > 127).float().mean() < 0.5


def test_shrunk_by_nearest_neighbour_pictures_are_those_of_the_authors_script(root):
    """Which asks Pillow for Lanczos on the 1-bit files; the cache, which holds ours, is passed over."""
    ours = load_omniglot(root)
    theirs = [
        [picture(c, d).resize((28, 28), Image.Resampling.LANCZOS) for d in range(DRAWINGS)] for c in range(len(CLASSES))
    ]
    expected = 255 * (1 - np.asarray([[np.asarray(image, np.uint8) for image in row] for row in theirs]))
    assert np.array_equal(omniglot.read_omniglot(root, "nearest").numpy(), expected)
    assert torch.equal(omniglot.read_omniglot(root), ours)
    with pytest.raises(ValueError, match="resampling must be one of lanczos, nearest, not 'cubic'"):
        omniglot.read_omniglot(root, "cubic")
    with pytest.raises(FileNotFoundError):
        omniglot.read_omniglot(root / "elsewhere", "nearest")


def test_cache_is_written_whole_and_used(root):
    images = load_omniglot(root)
    assert sorted(path.name for path in root.iterdir()) == [omniglot.CACHE, "omniglot-py"]
    shutil.rmtree(root / "omniglot-py")
    again = load_omniglot(root)
    assert torch.equal(again, images) and again.dtype == torch.uint8


def test_cache_is_preferred_to_the_images(root):
    load_omniglot(root)
    other = torch.full((5, 2, 28, 28), 7, dtype=torch.uint8)
    torch.save(other, root / omniglot.CACHE)
    assert torch.equal(load_omniglot(root), other)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "wrong shape", "no tensor"])
def test_damaged_cache_says_to_delete_it(root, damage):
    load_omniglot(root)
    cache = root / omniglot.CACHE
    whole = cache.read_bytes()
    if damage == "wrong shape":
        torch.save(torch.zeros(5, 1, 28, 28, dtype=torch.uint8), cache)
    elif damage == "no tensor":
        torch.save({"images": 1}, cache)
    else:
        cache.write_bytes({"truncated": whole[: len(whole) // 2], "garbage": b"not a tensor" * 50, "empty": b""}[damage])
    with pytest.raises(ValueError, match="Delete .*") as refusal:
        load_omniglot(root)
    assert str(cache) in str(refusal.value)


def test_cache_of_another_type_is_refused(root):
    load_omniglot(root)
    torch.save(torch.zeros(5, 2, 28, 28), root / omniglot.CACHE)
    with pytest.raises(ValueError, match="Delete"):
        load_omniglot(root)


def test_missing_omniglot_names_the_remedy(tmp_path, monkeypatch):
    no_download(monkeypatch)
    with pytest.raises(FileNotFoundError, match="images_background.zip.*MAML_DATA") as refusal:
        load_omniglot(tmp_path)
    assert str(tmp_path) in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "character, expected",
    [(1, r"2 characters instead of 3 \(missing: Beta/character02\)"), (4, r"1 characters instead of 2 \(missing: Zeta\)")],
)
def test_missing_character_names_the_part(root, character, expected):
    shutil.rmtree(folder_of(root, character))
    with pytest.raises(ValueError, match=expected) as refusal:
        load_omniglot(root)
    part = CLASSES[character][0]
    assert str(root / "omniglot-py" / part) in str(refusal.value)
    assert f"unpack {part}.zip again" in str(refusal.value) and not (root / omniglot.CACHE).exists()


def test_too_many_characters_are_refused(root):
    (root / "omniglot-py" / "images_background" / "Beta" / "character03").mkdir()
    with pytest.raises(ValueError, match=r"4 characters instead of 3 \(surplus: Beta/character03\): move what is surplus"):
        load_omniglot(root)


def test_missing_drawing_names_the_folder(root):
    file_of(root, 3, 1).unlink()
    with pytest.raises(ValueError, match=r"1 drawings instead of 2 \(missing: 0004_02.png\)") as refusal:
        load_omniglot(root)
    assert str(folder_of(root, 3)) in str(refusal.value) and not (root / omniglot.CACHE).exists()


def test_unreadable_picture_names_the_file(root):
    file = file_of(root, 2, 1)
    whole = file.read_bytes()
    for part in (b"", whole[:20], whole[:60], b"<html>not found</html>"):
        file.write_bytes(part)
        with pytest.raises(ValueError, match="not a readable picture") as refusal:
            load_omniglot(root)
        assert str(file) in str(refusal.value) and not (root / omniglot.CACHE).exists()


@pytest.mark.parametrize("size", [(105, 104), (28, 28)])
def test_picture_of_the_wrong_size_names_the_file(root, size):
    """Otherwise it would be scaled to 28x28 as if it were one of Omniglot's."""
    file = file_of(root, 2, 1)
    picture(2, 1).resize(size).save(file)
    with pytest.raises(ValueError, match=f"has {size[0]} x {size[1]} pixels instead of 105 x 105.*unpack") as refusal:
        load_omniglot(root)
    assert str(file) in str(refusal.value) and not (root / omniglot.CACHE).exists()


@pytest.mark.parametrize("chunk, length", [(b"IHDR", 12), (b"IDAT", 100)])
def test_picture_with_a_broken_chunk_names_the_file(root, chunk, length):
    """A chunk that is shorter than it is: Pillow looks for the next one in the midst of it."""
    file = file_of(root, 2, 1)
    content = file.read_bytes()
    at = content.index(chunk)
    assert int.from_bytes(content[at - 4 : at], "big") > length
    file.write_bytes(content[: at - 4] + length.to_bytes(4, "big") + content[at:])
    with pytest.raises(ValueError, match="not a readable picture") as refusal:
        load_omniglot(root)
    assert str(file) in str(refusal.value)


def test_folder_that_cannot_be_written_goes_without_cache(root, monkeypatch, capsys):
    """Permissions do not stop an administrator, so the rename itself fails; nothing half-written stays."""

    def refuse(*arguments):
        raise OSError("Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(atomic_files.os, "replace", refuse)
        images = load_omniglot(root)
    assert "not cached" in capsys.readouterr().err
    assert [path.name for path in root.iterdir()] == ["omniglot-py"]
    assert torch.equal(images, load_omniglot(root))


def test_of_two_processes_one_reads_and_the_other_waits(root):
    """Two threads take two locks of their own, as two processes do."""
    with ThreadPoolExecutor(2) as others:
        with folder_lock(root):
            loading = [others.submit(load_omniglot, root) for _ in range(2)]
            time.sleep(0.2)
            assert not any(one.done() for one in loading) and not (root / omniglot.CACHE).exists()
        first, second = (one.result(timeout=30) for one in loading)
    assert torch.equal(first, second) and first.shape == (5, 2, 28, 28)
    assert sorted(path.name for path in root.iterdir()) == [omniglot.CACHE, "omniglot-py"]


def test_patience_ends(root, monkeypatch):
    """Another process that hangs with the lock is not waited for for ever."""
    monkeypatch.setattr(omniglot, "PATIENCE", 0.2)
    with folder_lock(root):
        assert load_omniglot(root).shape == (5, 2, 28, 28)


def test_a_server_that_says_nothing_times_out(tmp_path, monkeypatch):
    """A real connection, accepted and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("torchvision.datasets.Omniglot.download_url_prefix", address)
        started = time.monotonic()
        with pytest.raises(FileNotFoundError, match="could not be downloaded.*unpack its two archives"):
            load_omniglot(tmp_path, download=True, timeout=0.3)
        assert time.monotonic() - started < 10


def test_a_truncated_archive_is_not_taken_for_omniglot(tmp_path, monkeypatch):
    """What a broken download left: torchvision sees by its checksum that it is not whole, and fetches it again."""
    (tmp_path / "omniglot-py").mkdir()
    archive = tmp_path / "omniglot-py" / "images_background.zip"
    archive.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FileNotFoundError, match="No Omniglot"):
        load_omniglot(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("torchvision.datasets.Omniglot.download_url_prefix", address)
        with pytest.raises(FileNotFoundError, match="could not be downloaded"):
            load_omniglot(tmp_path, download=True, timeout=0.3)


def test_a_data_folder_that_cannot_be_made_names_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileNotFoundError, match="set MAML_DATA to a folder that can be written to"):
        load_omniglot(tmp_path / "file" / "data", download=True)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_impossible_timeouts_are_refused(root, timeout):
    with pytest.raises(ValueError, match="timeout must be greater than 0"):
        load_omniglot(root, timeout=timeout)


@pytest.mark.parametrize("error", [urllib.error.URLError, TimeoutError, RuntimeError, BadZipFile])
def test_failing_download_names_the_remedy(tmp_path, monkeypatch, error):
    no_download(monkeypatch, error)
    monkeypatch.setattr(socket, "setdefaulttimeout", (seen := []).append)
    with pytest.raises(FileNotFoundError, match="could not be downloaded.*unpack its two archives"):
        load_omniglot(tmp_path, download=True, timeout=3.0)
    assert seen == [3.0, None]


@pytest.mark.parametrize("error", [urllib.error.URLError, KeyboardInterrupt])
def test_sockets_keep_their_timeout(tmp_path, monkeypatch, error):
    no_download(monkeypatch, error)
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(123.0)
        with pytest.raises((FileNotFoundError, KeyboardInterrupt)):
            load_omniglot(tmp_path, download=True)
        assert socket.getdefaulttimeout() == 123.0
    finally:
        socket.setdefaulttimeout(before)


def test_connection_cut_short_names_the_remedy(tmp_path, monkeypatch):
    from http.client import IncompleteRead

    no_download(monkeypatch, IncompleteRead)
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        load_omniglot(tmp_path, download=True)


def test_a_download_can_be_forbidden(tmp_path, monkeypatch):
    """As the notebooks' tests do: the class that would fetch must not even be made."""
    monkeypatch.setenv("MAML_DOWNLOAD", "0")
    no_download(monkeypatch, AssertionError)
    with pytest.raises(FileNotFoundError, match="No Omniglot"):
        load_omniglot(tmp_path, download=True)


def test_what_was_downloaded_is_read(root, tmp_path_factory, monkeypatch):
    """A download that puts the tree where torchvision puts it; both halves are asked for."""
    elsewhere, asked = tmp_path_factory.mktemp("empty"), []

    class Downloading:
        def __init__(self, folder, background, download):
            asked.append((background, download))
            part = "images_background" if background else "images_evaluation"
            shutil.copytree(root / "omniglot-py" / part, Path(folder) / "omniglot-py" / part)

    monkeypatch.setattr("torchvision.datasets.Omniglot", Downloading)
    assert torch.equal(load_omniglot(elsewhere, download=True), load_omniglot(root))
    assert asked == [(True, True), (False, True)]
    assert load_omniglot(elsewhere, download=True).shape == (5, 2, 28, 28) and len(asked) == 2


def test_download_that_stopped_half_way_is_gone_on_with(root, monkeypatch):
    """The network went away between the two archives: the next start fetches the second."""
    parked = root / "parked"
    shutil.move(root / "omniglot-py" / "images_evaluation", parked)

    class Downloading:
        def __init__(self, folder, background, download):
            if not background:
                shutil.copytree(parked, Path(folder) / "omniglot-py" / "images_evaluation")

    monkeypatch.setattr("torchvision.datasets.Omniglot", Downloading)
    assert load_omniglot(root, download=True).shape == (5, 2, 28, 28)


def test_data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("MAML_DATA", str(tmp_path / "mine"))
    assert data_root() == tmp_path / "mine"
    monkeypatch.setenv("MAML_DATA", "~/omniglot")
    assert data_root() == Path.home() / "omniglot"
    monkeypatch.setenv("MAML_DATA", "")
    checkout = Path(listing.__file__).parents[3]
    assert data_root() == checkout / "data"
    # Installed somewhere without a checkout around it: the working folder.
    installed = tmp_path / "site-packages" / "maml_core" / "tasks" / "disk" / "listing.py"
    monkeypatch.setattr(listing, "__file__", str(installed))
    monkeypatch.delenv("MAML_DATA")
    monkeypatch.chdir(tmp_path)
    assert data_root() == Path.cwd() / "data"
    monkeypatch.setenv("MAML_DATA", "mine")
    assert data_root() == Path.cwd() / "mine"


def test_a_relative_data_folder_is_the_same_from_everywhere(monkeypatch):
    """For the command line, which starts in the repository, and for a kernel, which starts in notebooks/."""
    monkeypatch.setenv("MAML_DATA", "mine")
    checkout = Path(omniglot.__file__).parents[2]
    for folder in (checkout, checkout / "notebooks"):
        monkeypatch.chdir(folder)
        assert data_root().resolve() == checkout / "mine"


def test_default_root_is_data_root(root, monkeypatch):
    monkeypatch.setenv("MAML_DATA", str(root))
    assert torch.equal(load_omniglot(), load_omniglot(root))


def test_auto_falls_back_to_glyphs_and_omniglot_does_not(tmp_path, monkeypatch):
    glyphs = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    monkeypatch.setattr(characters_module, "draw_glyphs", lambda: glyphs)
    fallback = load_characters("auto", tmp_path)
    assert fallback.source == "glyphs" and torch.equal(fallback.images, glyphs)
    with pytest.raises(FileNotFoundError, match="No Omniglot"):
        load_characters("omniglot", tmp_path)
    with pytest.raises(ValueError, match='"auto", "omniglot" or "glyphs"'):
        load_characters("mnist", tmp_path)


def test_auto_and_omniglot_take_omniglot_where_it_is(root):
    images = load_omniglot(root)
    for source in ("auto", "omniglot"):
        found = load_characters(source, root)
        assert found.source == "omniglot" and torch.equal(found.images, images)


def test_auto_does_not_pass_over_a_damaged_omniglot(root):
    file_of(root, 0, 0).write_bytes(b"")
    with pytest.raises(ValueError, match="not a readable picture"):
        load_characters("auto", root)


# Omniglot as people have it.


def packed(root: Path, part: str, inside: str = "") -> Path:
    """That part's folder replaced by its archive, with what a Mac adds to one; inside: a folder around it."""
    folder = root / "omniglot-py" / part
    archive = folder.with_name(f"{part}.zip")
    with ZipFile(archive, "w") as out:
        for file in sorted(folder.rglob("*")):
            name = f"{inside}{part}/{file.relative_to(folder)}"
            out.write(file, name)
            if file.is_file():
                out.writestr(f"__MACOSX/{inside}{part}/{file.parent.relative_to(folder)}/._{file.name}", b"Mac OS X")
    shutil.rmtree(folder)
    return archive


def move(root: Path, to: str, part: str = "") -> None:
    parked = (root / "omniglot-py" / part).rename(root / "parked")
    (root / to).parent.mkdir(parents=True, exist_ok=True)
    parked.rename(root / to)


def one_folder(root: Path) -> Path:
    """All alphabets in one folder, as MAML's authors have them."""
    for part in {part for part, *_ in CLASSES}:
        for alphabet in (root / "omniglot-py" / part).iterdir():
            move(root, f"omniglot_resized/{alphabet.name}", f"{part}/{alphabet.name}")
    shutil.rmtree(root / "omniglot-py")
    return root / "omniglot_resized"


def zips(root: Path, inside: str = "") -> None:
    for part in ("images_background", "images_evaluation"):
        packed(root, part, inside)


def doubled(root: Path) -> None:
    """As "Extract here" does, with the archive still beside it."""
    for part in ("images_background", "images_evaluation"):
        archive = packed(root, part)
        with ZipFile(archive) as content:
            content.extractall(root / "omniglot-py" / part)


LAYOUTS = {
    "root": lambda root: [move(root, part, part) for part in ("images_background", "images_evaluation")],
    "one folder deeper": lambda root: move(root, "omniglot-py/omniglot-py"),
    "clone": lambda root: move(root, "omniglot/python"),
    "clone, unpacked twice": lambda root: move(root, "omniglot-py/omniglot-master/omniglot-master/python"),
    "zips": zips,
    "zips with a folder around": lambda root: zips(root, "python/"),
    "zips of the clone": lambda root: [zips(root), move(root, "omniglot/python")],
    "a zip and a folder": lambda root: packed(root, "images_evaluation"),
    "a zip in a folder of its name": lambda root: move(
        root, "omniglot-py/images_background/images_background.zip", packed(root, "images_background").name
    ),
    "doubled": doubled,
    "in two places": lambda root: move(root, "downloads/images_evaluation", "images_evaluation"),
    "one folder": one_folder,
}


def expected_images() -> np.ndarray:
    """What any layout must come to, in Pillow alone."""
    return np.stack([
        np.stack([scaled(picture(c, d), Image.Resampling.LANCZOS) for d in range(DRAWINGS)]) for c in range(len(CLASSES))
    ])  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_give_the_same_tensor(root, layout):
    LAYOUTS[layout](root)
    assert np.array_equal(load_omniglot(root).numpy(), expected_images())


@pytest.mark.parametrize("name", [
    ".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir", "#recycle", ".@__thumb", "$RECYCLE.BIN",
    "System Volume Information", "lost+found", ".Trash-1000", "~snapshot", "@Recycle",
])  # fmt: skip
def test_what_systems_leave_behind_is_no_data(root, name):
    """A folder at every depth, with pictures in it, and files beside the drawings."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for inner in ("", "Latin", "Latin/character01"):
            (folder / name / inner).mkdir(parents=True, exist_ok=True)
            picture(0, 0).save(folder / name / inner / "0001_01.png")
        for file in (".DS_Store", "Thumbs.db", "desktop.ini", "._0001_01.png"):
            (folder / file).write_bytes(b"no picture")
    assert np.array_equal(load_omniglot(root).numpy(), expected_images())


def test_the_folder_of_the_authors_is_taken_as_it_is(root):
    """28x28 with hard edges, and the alphabets in one listing: Aleph comes first there and stays fourth here."""
    for file in one_folder(root).rglob("*.png"):
        with Image.open(file) as image:
            image.resize((28, 28), Image.Resampling.LANCZOS).save(file)  # as the authors' script does it: 1-bit
    expected = 255 * (1 - np.stack([
        np.stack([np.asarray(picture(c, d).resize((28, 28)), np.uint8) for d in range(DRAWINGS)]) for c in range(5)
    ]))  # fmt: skip
    assert np.array_equal(load_omniglot(root).numpy(), expected)


def test_torchvisions_folder_comes_first(root):
    """A damaged copy elsewhere does no harm."""
    shutil.copytree(root / "omniglot-py", root / "backup")
    shutil.rmtree(root / "backup" / "images_background" / "Beta")
    assert np.array_equal(load_omniglot(root).numpy(), expected_images())


def refusal(root: Path, kind: type[Exception] = ValueError) -> str:
    """What is said, and that nothing was touched."""
    before = sorted(root.rglob("*"))
    with pytest.raises(kind) as refused:
        load_omniglot(root)
    assert sorted(root.rglob("*")) == before
    return str(refused.value)


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("part", ["images_background", "images_evaluation"])
def test_only_one_of_the_two_archives(root, part, archived):
    (other,) = omniglot_tree.PARTS.keys() - {part}
    shutil.rmtree(root / "omniglot-py" / part)
    place = packed(root, other) if archived else root / "omniglot-py" / other
    said = refusal(root)
    assert f"Half of Omniglot is missing: {place} is there" in said
    assert f"neither {part} nor {part}.zip is under {root}" in said
    assert f"put {part}.zip into {root / 'omniglot-py'}" in said
    with pytest.raises(ValueError, match="Half of Omniglot"):
        load_characters("auto", root)


def test_a_damaged_archive_is_named(root):
    archive = packed(root, "images_evaluation")
    archive.write_bytes(archive.read_bytes()[:-100])
    assert f"({archive}: damaged or empty)" in refusal(root)


def test_incomplete_with_a_complete_one_elsewhere(root):
    shutil.copytree(root / "omniglot-py", root / "other")
    shutil.rmtree(folder_of(root, 1))
    said = refusal(root)
    assert f"{root / 'omniglot-py' / 'images_background'} has 2 characters instead of 3 (missing: Beta/character02)" in said
    assert f"move it elsewhere, and {root / 'other' / 'images_background'}, which is complete, is read" in said


def test_renamed_characters_are_named(root):
    """They might come in another order, and the split would be another one."""
    folder_of(root, 1).rename(folder_of(root, 1).with_name("02"))
    assert "has other characters than Omniglot (missing: Beta/character02; surplus: Beta/02)" in refusal(root)


def test_a_surplus_drawing_is_named(root):
    file = file_of(root, 3, 1)
    shutil.copy(file, file.with_name("0004_02 copy.png"))
    said = refusal(root)
    assert f"{folder_of(root, 3)} has 3 drawings instead of 2 (surplus: 0004_02 copy.png): move what is surplus" in said


def test_all_that_is_missing_of_one_folder_is_named(root):
    shutil.rmtree(one_folder(root) / "Gamma")
    assert f"{root / 'omniglot_resized'} has 4 characters instead of 5 (missing: Gamma)" in refusal(root)


def test_the_authors_folder_makes_up_for_a_missing_archive_only_if_complete(root):
    shutil.copytree(root / "omniglot-py", root / "copy")
    authors = one_folder(root)
    (root / "copy").rename(root / "omniglot-py")
    shutil.rmtree(root / "omniglot-py" / "images_evaluation")
    assert np.array_equal(load_omniglot(root).numpy(), expected_images())
    (root / omniglot.CACHE).unlink()
    shutil.rmtree(authors / "Zeta")
    assert "Half of Omniglot is missing" in refusal(root)


def test_a_broken_picture_in_an_archive_is_named(root):
    archive = packed(root, "images_background")
    content = archive.read_bytes()
    at = content.index(b"IDAT")
    archive.write_bytes(content[: at + 4] + b"garbage" + content[at + 11 :])
    said = refusal(root)
    assert str(archive) in said and "0001_01.png is not a readable picture" in said
    assert "download images_background.zip again" in said


# Pictures of every mode.


def saved(image: Image.Image, file: Path, mode: str) -> None:
    """The same greys in another mode; where there is transparency, the paper is transparent black."""
    grey = image.convert("L")
    if mode == "I;16":
        grey = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "P":
        grey = grey.convert("P")
    elif mode == "P with transparency":
        return Image.eval(grey, lambda v: 1 if v else 0).convert("P").save(file, transparency=1)
    elif mode in ("LA", "RGBA"):
        grey = Image.merge("LA", [Image.new("L", grey.size, 0), Image.eval(grey, lambda v: 255 - v)]).convert(mode)
    elif mode != "1":
        grey = grey.convert(mode)
    (image if mode == "1" else grey).save(file)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "P with transparency", "LA", "RGB", "RGBA"])
def test_modes_keep_their_greys(root, mode):
    for character in range(5):
        for drawing in range(DRAWINGS):
            saved(picture(character, drawing), file_of(root, character, drawing), mode)
    assert np.array_equal(load_omniglot(root).numpy(), expected_images())


def test_half_tones_of_16_bits(tmp_path):
    """65535 is white, as 255 is, and what lies between is not clipped."""
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "x.png")
    for mode in ("L", "RGB"):
        ours = np.asarray(read_picture(tmp_path / "x.png", mode, ""))
        assert np.array_equal(ours.reshape(256, -1)[:, 0], np.arange(256))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_greys_of_unknown_range_are_refused(root, mode):
    picture(2, 1).convert("L").convert(mode).save(file_of(root, 2, 1), format="TIFF")
    assert f"{file_of(root, 2, 1)} has pixels of mode {mode}, where black and white are unknown" in refusal(root)


def test_pictures_are_turned_upright(tmp_path):
    """A photograph that was taken with the camera turned, and one whose EXIF is damaged."""
    upright = Image.fromarray(np.arange(0, 240, 5, np.uint8).reshape(6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(np.asarray(read_picture(tmp_path / "x.png", "L", "")), np.asarray(upright))
    upright.save(tmp_path / "y.jpg", exif=b"Exif\0\0no TIFF at all", quality=100)
    assert read_picture(tmp_path / "y.jpg", "L", "").size == upright.size


# Without Pillow, which torch and numpy do not bring.


def test_without_pillow_a_sentence_names_it(root, monkeypatch):
    """ "auto" does not pass over it, and a cache needs none."""
    images = load_omniglot(root)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert torch.equal(load_omniglot(root), images)
    (root / omniglot.CACHE).unlink()
    for source in ("omniglot", "auto"):
        with pytest.raises(ValueError, match="needs Pillow: pip install pillow"):
            load_characters(source, root)


def test_the_command_line_without_pillow(tmp_path):
    """A process of its own, with the package's own dependencies only; the folders of all characters."""
    for part, names in omniglot_tree.PARTS.items():
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['PIL', 'torchvision', 'matplotlib']));"
        "from maml_core.__main__ import main; sys.exit(main(['evaluate', 'omniglot-5way-1shot', '--tasks', '2']))"
    )
    environment = os.environ | {"MAML_DATA": str(tmp_path), "MAML_DOWNLOAD": "0"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ended.returncode == 2
    assert ended.stderr == "maml_core: Reading pictures needs Pillow: pip install pillow.\n"


# The real pictures.


@pytest.fixture
def real(characters) -> torch.Tensor:
    if characters.source != "omniglot":
        pytest.skip("Omniglot is not on disk")
    return characters.images


def test_real_omniglot_is_complete(real):
    assert real.shape == (1623, 20, 28, 28) and real.dtype == torch.uint8


def test_real_drawings_have_ink_but_mostly_paper(real):
    ink = (real > 127).flatten(2).float().mean(-1)
    assert 0 < ink.min() and ink.max() < 0.5


def test_real_drawings_of_a_character_differ(real):
    """But for one: in Braille's first character, number 240 here, Omniglot itself has the same file twice."""
    different = [len({drawing.tobytes() for drawing in character}) for character in real.flatten(2).numpy()]
    assert {i: n for i, n in enumerate(different) if n < 20} == {240: 19}


def test_real_background_characters_come_first(real):
    """Ends of both parts against the files themselves, in the order of their paths as text."""
    tree = data_root() / "omniglot-py"
    start = 0
    for part, count in (("images_background", 964), ("images_evaluation", 659)):
        folders = sorted(f"{path.parent.name}/{path.name}" for path in (tree / part).glob("*/character*"))
        if not folders:
            pytest.skip("the cache of Omniglot is on disk, its pictures are not")
        assert len(folders) == count
        for i in (0, 1, count // 2, count - 1):
            drawings = sorted((tree / part / folders[i]).iterdir())
            for j in (0, 19):
                with Image.open(drawings[j]) as image:
                    assert np.array_equal(real[start + i, j], scaled(image, Image.Resampling.LANCZOS))
        start += count


def test_the_names_are_those_on_disk(real):
    """Alphabets, characters and their numbers, against the folders themselves."""
    counts = {part: len(names) for part, names in omniglot_tree.PARTS.items()}
    assert counts == {"images_background": 964, "images_evaluation": 659}
    tree = data_root() / "omniglot-py"
    if not tree.is_dir():
        pytest.skip("the cache of Omniglot is on disk, its pictures are not")
    for part, names in omniglot_tree.PARTS.items():
        assert names == sorted(f"{path.parent.name}/{path.name}" for path in (tree / part).glob("*/character*"))


def test_real_pictures_are_the_same_from_archives(real, tmp_path, monkeypatch):
    """Two alphabets of each part, packed as their archives are."""
    tree, some = data_root() / "omniglot-py", ("Tagalog", "Greek", "Angelic", "ULOG")
    if not tree.is_dir():
        pytest.skip("the cache of Omniglot is on disk, its pictures are not")
    every = [name for names in omniglot_tree.PARTS.values() for name in names]
    kept = {part: [name for name in names if name.startswith(some)] for part, names in omniglot_tree.PARTS.items()}
    for part, names in kept.items():
        with ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            for file in (file for name in names for file in (tree / part / name).iterdir()):
                archive.write(file, file.relative_to(tree))
    chosen = [name for names in kept.values() for name in names]
    monkeypatch.setattr(omniglot_tree, "PARTS", kept)
    monkeypatch.setattr(omniglot, "CHARACTERS", len(chosen))
    assert torch.equal(load_omniglot(tmp_path), real[[every.index(name) for name in chosen]])
