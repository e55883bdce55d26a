"""`python -m tools.site build/site`: writes the site's sources to a temporary folder, and has Sphinx build it."""

import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

from . import api
from .chapters import Chapter
from .live import FRAGMENTS, Fragments
from .pages import PLACEHOLDER, ROOT, address, find_pages, relink


def toctree(caption: str, entries: list[str]) -> str:
    """A group of pages in the navigation."""
    return "\n".join(["```{toctree}", ":hidden:", ":maxdepth: 2", f":caption: {caption}", "", *entries, "```"])


def write_sources(folder: Path, fragments: Fragments) -> None:
    """Every page as Markdown, and the pictures that pages show."""
    pages = find_pages()
    shutil.copytree(ROOT / "figures", folder / "figures")
    chapters, docs = [], []
    for file, page in pages.items():
        target = folder / page
        target.parent.mkdir(exist_ok=True)
        if file.endswith(".ipynb"):
            text = Chapter(file, folder, pages, fragments).markdown()
            title = text.partition("\n")[0].lstrip("# ").partition(":")[0]
            chapters.append(f"{title} <{page.removesuffix('.md')}>")
        else:
            text = relink((ROOT / file).read_text(encoding="utf-8"), file, pages)
            docs += [page.removesuffix(".md")] if page.startswith("docs/") else []
        target.write_text(text, encoding="utf-8")
    docs += ["api/index", "Contributing <CONTRIBUTING>", f"The repository <https://github.com/{address()}>"]
    with (folder / "index.md").open("a", encoding="utf-8") as index:
        index.write("\n\n".join(["", toctree("Chapters", chapters), toctree("Documentation", docs), ""]))
    (folder / "api").mkdir()
    (folder / "api" / "index.md").write_text(api.index_page(), encoding="utf-8")
    for name in api.MODULES:
        (folder / "api" / f"{name}.md").write_text(api.module_page(name), encoding="utf-8")


def build(out: Path, fragments: Fragments = FRAGMENTS) -> None:
    """Build the site in a new folder, or in place of an earlier site.

    fragments: of panels that work without a kernel (`live`). Raises FileExistsError for a folder with something else in it,
    FileNotFoundError for a broken link, and RuntimeError for whatever else Sphinx warns of.
    """
    if out.exists() and any(out.iterdir()) and not (out / ".buildinfo").exists():
        raise FileExistsError(f"{out} holds something other than a site, so name a new folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:  # beside it: a finished site is only renamed
        sources, site = Path(folder) / "sources", Path(folder) / "site"
        sources.mkdir()
        write_sources(sources, fragments)
        options = ["-q", "-b", "html", "-W", "--keep-going", "-c", str(Path(__file__).parent), "-d", f"{folder}/doctrees"]
        if build_main([*options, str(sources), str(site)]):
            raise RuntimeError("Sphinx could not build the site: see its warnings above.")
        if out.exists():
            shutil.rmtree(out)
        site.rename(out)


def main(arguments: list[str]) -> None:
    """Build the site in the folder named."""
    out = Path(arguments[0])
    try:
        build(out)
    except (FileExistsError, FileNotFoundError, RuntimeError) as error:
        sys.exit(str(error))
    print(f"The site is in {out}: open {out / 'index.html'}, or copy the folder to any file server.")
    if address() == PLACEHOLDER:
        print(
            f"Its links to GitHub and Colab say {PLACEHOLDER}: set GITHUB_REPOSITORY=OWNER/NAME to have them lead to yours."
        )


if __name__ == "__main__":
    main(sys.argv[1:])
