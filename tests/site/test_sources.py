"""How the repository's files become the site's sources: links, outputs of cells, signatures and docstrings."""

import inspect
import subprocess
from pathlib import Path

import nbformat
import pytest

from maml_core import FewShotTasks, Learner, MetaTrainer, TaskDistribution, adapt
from maml_core.learners.variants import MetaSGD
from tools.site import __main__ as site
from tools.site import api, chapters, pages
from tools.site.live import FRAGMENTS, fragment
from tools.site.pages import origin as clone_of


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on GitHub's machines, and in no clone of a repository there."""
    monkeypatch.setattr(pages, "origin", lambda: "")
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)


LINKS = [  # file, link, where it leads on the site
    ("README.md", "notebooks/01_sinusoid.ipynb", "notebooks/01_sinusoid.md"),
    ("README.md", "docs/training.md#data-folders", "docs/training.md#data-folders"),
    ("docs/results.md", "../README.md", "../index.md"),
    ("docs/results.md", "#the-variants", "#the-variants"),
    ("docs/results.md", "../figures/table_1.png", "../figures/table_1.png"),
    ("docs/speed.md", "https://arxiv.org/abs/1703.03400", "https://arxiv.org/abs/1703.03400"),
    ("notebooks/02_hessian_vector_product.ipynb", "01_sinusoid.ipynb", "01_sinusoid.md"),
    ("docs/training.md", "../maml_core/maml.py", "https://github.com/YOUR/FORK/blob/main/maml_core/maml.py"),
    ("CONTRIBUTING.md", "tests/modules", "https://github.com/YOUR/FORK/tree/main/tests/modules"),
]


@pytest.mark.parametrize(("file", "link", "leads"), LINKS)
def test_where_links_lead(file: str, link: str, leads: str) -> None:
    assert pages.relink(f"see [this]({link}).", file, pages.find_pages()) == f"see [this]({leads})."


def test_a_link_to_nothing_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"docs/speed\.md links to no\.md, which is not in the repository"):
        pages.relink("[no](no.md)", "docs/speed.md", pages.find_pages())


def test_code_keeps_its_links_and_comments() -> None:
    text = "```markdown\n<!-- a -->[x](no.md)\n```\n<!-- a -->1 ± 2<!-- /a -->"
    code, _, number = pages.relink(text, "README.md", pages.find_pages()).rpartition("\n")
    assert code == text.rpartition("\n")[0] and number == "1\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}2"


def test_the_address_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In README, unless GitHub builds the site; it then takes the place of YOUR/FORK on every page."""
    assert pages.address() == "YOUR/FORK" and pages.branch() == "main"
    monkeypatch.setattr(pages, "origin", lambda: "grace/maml")
    assert pages.address() == "grace/maml"
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/maml")
    monkeypatch.setenv("GITHUB_REF_NAME", "trunk")
    assert pages.source("tests/modules") == "https://github.com/ada/maml/tree/trunk/tests/modules"
    assert pages.colab("x.ipynb") == "https://colab.research.google.com/github/ada/maml/blob/trunk/x.ipynb"
    assert "ada/maml" in pages.relink('pip install "git+https://github.com/YOUR/FORK"', "README.md", pages.find_pages())


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://github.com/ada/maml.git", "ada/maml"),
        ("https://github.com/ada/maml.core/", "ada/maml.core"),
        ("https://ada:secret@github.com/ada/maml", "ada/maml"),
        ("git@github.com:ada/maml.git", "ada/maml"),
        ("ssh://git@github.com/ada/maml.git", "ada/maml"),
        ("https://gitlab.com/ada/maml.git", ""),
        ("https://github.com.example.org/ada/maml", ""),
        ("/home/ada/github.com/ada/maml", ""),
        ("", ""),
    ],
)
def test_a_clone_names_its_repository(url: str, named: str, tmp_path: Path) -> None:
    """And a folder within it, that was only copied there, does not."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    if url:
        subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", url], check=True)
    assert clone_of(tmp_path) == named
    (tmp_path / "copied").mkdir()
    assert clone_of(tmp_path / "copied") == ""


def test_links_that_lead_nowhere_are_mentioned(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(site, "build", lambda out: None)
    site.main(["build/site"])
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2 and "say YOUR/FORK: set GITHUB_REPOSITORY=OWNER/NAME" in told[1]
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/maml")
    site.main(["build/site"])
    assert len(capsys.readouterr().out.splitlines()) == 1


def cell(source: str, shown: str = "", tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    outputs = [nbformat.v4.new_output("stream", text="-"), nbformat.v4.new_output("execute_result", {"text/plain": shown})]
    return nbformat.v4.new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})


def test_which_cells_get_a_fragment() -> None:
    fragments = {"WavePanel": lambda: "<p>wave</p>", "LiveWave": lambda: "<p>live</p>", "live": lambda: "<p>tagged</p>"}
    assert fragment(cell("panel", "WavePanel: run this cell in JupyterLab"), fragments) == "<p>wave</p>"
    assert fragment(cell("LiveWave()", "LiveWave: run this cell in JupyterLab or Colab"), fragments) == "<p>live</p>"
    assert fragment(cell("panel", tags=("live",)), fragments) == "<p>tagged</p>"
    assert fragment(cell("WavePanel(theta).errors()", "0.5"), fragments) is None  # it shows none
    assert fragment(cell("MyWavePanel()", "MyWavePanel: run this cell in JupyterLab"), fragments) is None


@pytest.mark.parametrize("name", ["00_start_here", "01_sinusoid"])
def test_a_live_panel_is_on_its_page_once(name: str, tmp_path: Path) -> None:
    """And its picture, which is saved in the notebook, is not."""
    file = f"notebooks/{name}.ipynb"
    (tmp_path / "notebooks").mkdir()
    text = chapters.Chapter(file, tmp_path, pages.find_pages(), FRAGMENTS).markdown()
    outputs = [o for c in nbformat.read(pages.ROOT / file, as_version=4).cells for o in c.get("outputs", [])]
    saved = sum("image/png" in output.get("data", {}) for output in outputs)
    assert text.count('class="maml-live-page"') == 1
    assert text.count("![") == len(list((tmp_path / "notebooks").glob("*.png"))) == saved - 1


@pytest.mark.parametrize(
    ("code", "alt"),
    [
        ('ax.set(title="One", xlabel="steps", ylabel="loss")', "Figure: One; loss against steps"),
        ('a.set_title("One")\nb.set_title(r"Two $\\\\lambda$")', "Figure: One; Two lambda"),
        ("reported.table_1()", "of the docs"),
        ('figures.shipped_picture("table_1", source)', "of the docs"),
        ("table_1 = 1\nfigures.draw_episode(axes, task, ways=5)", "Figure: One task without the task axis: support"),
        ("figures.draw_predictions(x)", "Figure: Query pictures x, a row"),
        ("plt.show()", "Figure: plotted in “The data”"),
    ],
)
def test_alt_texts(code: str, alt: str) -> None:
    assert chapters.describe(code, "The data", {"table_1": "of the docs"}).startswith(alt)


def test_fences_outgrow_their_text() -> None:
    assert chapters.fenced("a ``` b", "text") == "````text\na ``` b\n````"
    assert chapters.fenced("plain", "text") == "```text\nplain\n```"


def test_every_output_of_a_chapter_is_on_its_page(tmp_path: Path) -> None:
    file = "notebooks/05_three_families.ipynb"
    (tmp_path / "notebooks").mkdir()
    text = chapters.Chapter(file, tmp_path, pages.find_pages(), {}).markdown()
    outputs = [o for c in nbformat.read(pages.ROOT / file, as_version=4).cells for o in c.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(list((tmp_path / "notebooks").glob("*.png"))) == len(pictures) == text.count("![")
    assert all(o.text.rstrip() in text for o in outputs if o.output_type == "stream")
    assert text.count("{container} panel") == 1 and "[open the page in Colab](https://colab." in text


def test_signatures_are_those_of_the_source() -> None:
    for thing in (adapt, MetaTrainer, FewShotTasks.split, Learner.step):
        shown = api.signature(thing)
        names = [name for name in inspect.signature(thing).parameters if name != "self"]
        assert [shown.index(f"{name}") for name in names] == sorted(shown.index(f"{name}") for name in names)
    assert api.signature(Learner).splitlines()[1:3] == ["    network: Network,", "    alpha: float,"]
    assert api.signature(MetaSGD).splitlines()[1:] == api.signature(Learner).splitlines()[1:]  # inherited
    assert api.signature(TaskDistribution) == "class TaskDistribution"
    assert api.signature(Learner.losses) == "def losses(self, theta: Weights, episodes: Episodes) -> Tensor"


def test_docstrings_keep_their_shape() -> None:
    html = api.docstring("""Sum: x [T] -> y, for `a < b`.

    steps:  how many,
            at most 3
    seed: of it
    Raises ValueError for none and for what is in the inner
    loop: no item, but a sentence.

        y = x   * 2
    """)
    assert html.splitlines() == [
        '<p>Sum: x [T] -&gt; y, for <code class="literal">a &lt; b</code>.</p>',
        "<dl><dt>steps</dt><dd>how many, at most 3</dd></dl>",
        "<dl><dt>seed</dt><dd>of it</dd></dl>",
        "<p>Raises ValueError for none and for what is in the inner loop: no item, but a sentence.</p>",
        "<pre>y = x   * 2</pre>",
    ]


def test_what_the_package_exports_is_in_the_reference() -> None:
    index = api.index_page()
    for name in api.maml_core.__all__:
        assert f"| [`{name}`](" in index
