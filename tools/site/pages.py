"""The pages of the site, and where a link of the repository leads on it."""

import os
import posixpath
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PLACEHOLDER = "YOUR/FORK"
FENCE = re.compile(r"^ *(`{3,}|~{3,})")
LINK = re.compile(r"\]\(([^)\s]+)\)")
REMOTE = re.compile(r"(?:https://(?:[^@/]*@)?github\.com/|(?:ssh://)?git@github\.com[:/])([^/\s]+/[^/\s]+?)(?:\.git)?/?")


def address() -> str:
    """OWNER/NAME of the repository on GitHub, or PLACEHOLDER.

    By GITHUB_REPOSITORY, which GitHub's machines set, else by what README installs, else by this clone's `origin`.
    """
    named = re.search(r"git\+https://github\.com/([^\s\"/]+/[^\s\"/]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    installed = named[1] if named and named[1] != PLACEHOLDER else ""
    return os.environ.get("GITHUB_REPOSITORY") or installed or origin() or PLACEHOLDER


@cache
def origin(folder: Path = ROOT) -> str:
    """OWNER/NAME of the GitHub repository that a folder was cloned from; empty if it was not, or git is missing."""
    command = ["git", f"--git-dir={folder / '.git'}", "remote", "get-url", "origin"]  # not that of a folder around it
    try:
        url = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
    found = REMOTE.fullmatch(url)
    return found[1] if found else ""


def branch() -> str:
    """The branch that links to sources lead to: GITHUB_REF_NAME, else main."""
    return os.environ.get("GITHUB_REF_NAME", "main")


def source(path: str) -> str:
    """The address of a file or folder of the repository ("maml_core/maml.py", also with "#L10") on GitHub."""
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"https://github.com/{address()}/{kind}/{branch()}/{path}"


def colab(path: str) -> str:
    """The address that opens a notebook of the repository in Colab."""
    return f"https://colab.research.google.com/github/{address()}/blob/{branch()}/{path}"


def find_pages() -> dict[str, str]:
    """{file of the repository: its page, as a Markdown file of the site's sources}, in the order of the navigation."""
    chapters = [f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
    docs = [f"docs/{name}.md" for name in ("paper", "results", "choices", "training", "coming-from", "speed")]
    docs += sorted({f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - set(docs))
    files = ["README.md", *chapters, *docs, "CONTRIBUTING.md"]
    return {name: name.replace("README.md", "index.md").replace(".ipynb", ".md") for name in files}


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """`change` applied to each line of Markdown that is not in a fenced block."""
    lines, fence = [], ""
    for line in text.split("\n"):
        mark = FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) and line.strip() == mark[1] else fence
        elif mark:
            fence = mark[1]
        else:
            line = change(line)
        lines.append(line)
    return "\n".join(lines)


def relink(text: str, file: str, pages: dict[str, str]) -> str:
    """Markdown of `file` with its links as the site needs them, without comments, and with the repository's address.

    A link to a page leads to the page, one to a picture stays, and one to any other file leads to GitHub. Raises
    FileNotFoundError for a link to nothing.
    """

    def lead(link: re.Match) -> str:
        target, _, anchor = link[1].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{file} links to {target}, which is not in the repository.")
        if path.startswith("figures/"):
            return link[0]
        to = posixpath.relpath(pages[path], posixpath.dirname(pages[file])) if path in pages else source(path)
        return f"]({to}{'#' * bool(anchor)}{anchor})"

    def change(line: str) -> str:
        line = re.sub(r"<!--.*?-->", "", line).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
        return LINK.sub(lead, line)

    return outside_of_code(text, change).replace(PLACEHOLDER, address())
