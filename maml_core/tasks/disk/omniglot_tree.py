"""Find Omniglot's pictures below a folder, in any of the common layouts, and check that they are complete."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

from .listing import File, Listing, entries, listing

DEPTH, MOST_FOLDERS = 4, 1000  # how far below the root we look, and how many folders we open
PAPER, SIZE = 105, 28  # pixels on each side: in Omniglot's files, and in ours and those of MAML's authors

# How many characters each alphabet has: character01, character02 and so on.
ALPHABETS = {
    "images_background": {
        "Alphabet_of_the_Magi": 20, "Anglo-Saxon_Futhorc": 29, "Arcadian": 26, "Armenian": 41,
        "Asomtavruli_(Georgian)": 40, "Balinese": 24, "Bengali": 46, "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14,
        "Braille": 26, "Burmese_(Myanmar)": 34, "Cyrillic": 33, "Early_Aramaic": 22, "Futurama": 26, "Grantha": 43,
        "Greek": 24, "Gujarati": 48, "Hebrew": 22, "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16,
        "Japanese_(hiragana)": 52, "Japanese_(katakana)": 47, "Korean": 40, "Latin": 26, "Malay_(Jawi_-_Arabic)": 40,
        "Mkhedruli_(Georgian)": 41, "N_Ko": 33, "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14, "Sanskrit": 42,
        "Syriac_(Estrangelo)": 23, "Tagalog": 17, "Tifinagh": 55,
    },
    "images_evaluation": {
        "Angelic": 20, "Atemayar_Qelisayer": 26, "Atlantean": 26, "Aurek-Besh": 26, "Avesta": 26, "Ge_ez": 26,
        "Glagolitic": 45, "Gurmukhi": 45, "Kannada": 41, "Keble": 26, "Malayalam": 47, "Manipuri": 40, "Mongolian": 30,
        "Old_Church_Slavonic_(Cyrillic)": 45, "Oriya": 46, "Sylheti": 28, "Syriac_(Serto)": 23, "Tengwar": 25,
        "Tibetan": 42, "ULOG": 26,
    },
}  # fmt: skip
PARTS = {
    part: [f"{name}/character{i + 1:02}" for name, count in alphabets.items() for i in range(count)]
    for part, alphabets in ALPHABETS.items()
}


@dataclass(frozen=True)
class Tree:
    """Omniglot, or one of its two parts, in one place.

    place:       a folder or a zip archive
    characters:  the files of each that was found, by "ALPHABET/characterNN"
    expected:    the characters that there should be, in Omniglot's order
    sides:       how many pixels a picture may have on each side
    remedy:      what to do where something is missing or damaged
    """

    place: Path
    characters: dict[str, list[File]]
    expected: list[str]
    sides: tuple[int, ...]
    remedy: str

    @property
    def is_complete(self) -> bool:
        return set(self.characters) == set(self.expected)


def find_trees(root: Path) -> dict[str, Tree]:
    """Omniglot's two parts by name, each the first that is found; fewer where one is missing.

    Searched in this order: `omniglot-py` (torchvision's layout), the root, the folders below it level by level, to a
    depth of four. In each of them a part is a folder (which "Extract here" may have doubled) or a zip archive. Where a
    part is missing, all 50 alphabets in one folder will do (the MAML authors' `omniglot` and `omniglot_resized`): one tree.
    Raises ValueError if what is found first has too few or too many characters.
    """
    searches = {part: _trees_of(root, part) for part in PARTS}
    found = {part: tree for part, trees in searches.items() if (tree := next(trees, None))}
    if len(found) < len(PARTS):
        half = bool(found)  # an incomplete folder would not make up for the other half
        together = (tree for tree in _together(root) if tree.is_complete or not half)
        if tree := next(together, None):
            found, searches = {"omniglot": tree}, {"omniglot": together}
    for name, tree in found.items():
        if not tree.is_complete:
            raise _incomplete(tree, next((other for other in searches[name] if other.is_complete), None))
    return found


def missing_part(root: Path, trees: dict[str, Tree]) -> FileNotFoundError | ValueError:
    """The error for a missing Omniglot (FileNotFoundError) or for one with one half missing (ValueError)."""
    missing = [part for part in PARTS if part not in trees]
    useless = " and ".join(str(place) for part in missing for place in _places(root, part))
    but = f" ({useless}: damaged or empty)" if useless else ""
    if not trees:
        return FileNotFoundError(
            f"No Omniglot under {root}{but}: put {' and '.join(f'{part}.zip' for part in PARTS)}, unpacked or not, into "
            f"{root / 'omniglot-py'}, or allow the download, or set MAML_DATA to a folder that has them."
        )
    there, lacks = next(iter(trees.values())).place, missing[0]
    return ValueError(
        f"Half of Omniglot is missing: {there} is there, but neither {lacks} nor {lacks}.zip is under {root}{but}: "
        f"put {lacks}.zip into {root / 'omniglot-py'}, unpacked or not."
    )


def difference(found: Collection[str], expected: Collection[str]) -> str:
    """What is missing and what is surplus, the first three of each; an alphabet by its name if all of it is."""
    told = []
    for word, names, others in (("missing", expected, found), ("surplus", found, expected)):
        kept = {name.partition("/")[0] for name in names if name in others}
        apart = [name for name in names if name not in others]
        short = list(dict.fromkeys(name if (a := name.partition("/")[0]) in kept else a for name in apart))
        if short:
            more = f" and {len(short) - 3} more" if len(short) > 3 else ""
            told.append(f"{word}: {', '.join(short[:3])}{more}")
    return "; ".join(told)


def _folders(root: Path) -> Iterator[Path]:
    level = first = [root / "omniglot-py", root]
    closed = {*PARTS, *_alphabets()}  # their contents belong to them
    yield from level
    for _ in range(DEPTH):
        below = [path for folder in level for path in _entries(folder) if path.name not in closed and path not in first]
        level = [path for path in below if path.is_dir()]
        yield from level


def _entries(folder: Path) -> list[Path]:
    try:
        return entries(folder)
    except OSError:  # missing, or not readable for us
        return []


def _alphabets() -> set[str]:
    return {name.partition("/")[0] for names in PARTS.values() for name in names}


def _places(root: Path, part: str) -> Iterator[Path]:
    for folder in islice(_folders(root), MOST_FOLDERS):
        if (folder / part).is_dir():
            yield folder / part
        yield from (path for path in (folder / f"{part}.zip", folder / part / f"{part}.zip") if path.is_file())


def _trees_of(root: Path, part: str) -> Iterator[Tree]:
    for place in _places(root, part):
        try:
            found = listing(place)
        except BadZipFile:
            continue
        remedy = f"download {part}.zip again" if place.is_file() else f"unpack {part}.zip again in its place"
        tree = Tree(place, _characters(_unwrapped(found)), PARTS[part], (PAPER,), remedy)
        if tree.characters:
            yield tree


def _unwrapped(found: Listing) -> dict[str, Listing]:
    """Without an archive's own folder around the alphabets, once or twice."""
    folders = {name: inside for name, inside in found.items() if isinstance(inside, dict)}
    return _unwrapped(*folders.values()) if len(folders) == 1 and not _alphabets() & set(folders) else folders


def _together(root: Path) -> Iterator[Tree]:
    """Folders with alphabets of both parts."""
    expected = [name for names in PARTS.values() for name in names]
    for folder in islice(_folders(root), MOST_FOLDERS):
        there = {path.name for path in _entries(folder)}
        if all(any(name.partition("/")[0] in there for name in names) for names in PARTS.values()):
            found = {path.name: listing(path) for path in entries(folder) if path.is_dir()}
            remedy = "copy that alphabet there again from Omniglot's two archives"
            yield Tree(folder, _characters(found), expected, (PAPER, SIZE), remedy)


def _characters(alphabets: dict[str, Listing]) -> dict[str, list[File]]:
    return {
        f"{alphabet}/{name}": [
            file for ending, file in files.items() if ending.lower().endswith(".png") and not isinstance(file, dict)
        ]
        for alphabet, characters in alphabets.items()
        for name, files in characters.items() if isinstance(files, dict)
    }  # fmt: skip


def _incomplete(tree: Tree, complete: Tree | None) -> ValueError:
    """complete: another one that has all characters."""
    there, wanted = len(tree.characters), len(tree.expected)
    says = f"{there} characters instead of {wanted}" if there != wanted else "other characters than Omniglot"
    if complete:
        remedy = f"move it elsewhere, and {complete.place}, which is complete, is read"
    elif set(tree.characters) > set(tree.expected):
        remedy = "move what is surplus elsewhere"
    else:
        remedy = tree.remedy
    return ValueError(f"{tree.place} has {says} ({difference(tree.characters, tree.expected)}): {remedy}.")
