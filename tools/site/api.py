"""The API reference as Markdown: signatures as in the source, and docstrings as they stand, without markup of their own."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from html import escape
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import cast

import maml_core

from .pages import ROOT, source

MODULES = (
    "maml", "meta_update", "networks", "layers", "episodes", "evaluation", "fine_tuning", "second_order", "reference",
    "tasks", "learners.adapting", "learners.variants", "learners.imaml", "learners.reader", "learners.metric",
    "learners.attention", "engine",
)  # fmt: skip
WIDTH = 80
Documented = FunctionType | type
ITEM = re.compile(r"(\*{0,2}\w+(?:, \w+)*): +(?=\S)")


def docstring(text: str | None) -> str:
    """A docstring as HTML: paragraphs, its "name: text" lines as a list, indented lines as they are, `code` as code."""
    blocks: list[tuple[str, list[str]]] = []  # (kind, lines)
    before = ""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text or "")):
        kind = ""
        for line in paragraph.splitlines():
            last, kind = kind, _kind(line, kind, before)
            if kind == "item" or (kind != last and kind != "more"):
                blocks.append((kind, []))
            blocks[-1][1].append(line)
            before = line
    return "\n".join(_html(kind, lines) for kind, lines in blocks)


def _kind(line: str, last: str, before: str) -> str:
    """What a line is: "item", "more" (of an item), "verbatim" or "text".

    last: the kind of the line before it, "" at the start of a paragraph; before: that line, "" at the very start. Neither
    a docstring's first line nor the middle of a sentence begins an item.
    """
    if ITEM.match(line) and (last in ("item", "more") or (before if last == "" else before.endswith((".", ":")))):
        return "item"
    if last in ("item", "more") and not line.startswith("Raises "):
        return "more"
    return "verbatim" if line.startswith("    ") else "text"


def _html(kind: str, lines: list[str]) -> str:
    if kind == "verbatim":
        return f"<pre>{escape(textwrap.dedent(chr(10).join(lines)))}</pre>"
    text = " ".join(map(str.strip, lines))
    name = ITEM.match(text) if kind == "item" else None
    rest = escape(text[name.end() :] if name else text, quote=False)
    rest = re.sub(r"(?<!\S)\*(\w+)\*", r"<em>\1</em>", rest)  # but not N*K*28
    rest = re.sub(r"`([^`]+)`", r'<code class="literal">\1</code>', rest)
    return f"<dl><dt>{escape(name[1])}</dt><dd>{rest}</dd></dl>" if name else f"<p>{rest}</p>"


def _definition(thing: Documented) -> ast.FunctionDef | ast.ClassDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        raise TypeError(f"{thing.__name__} is neither a function nor a class")
    return node


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    plain = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    for argument, default in zip(plain, defaults):
        yield ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")
    if arguments.vararg or arguments.kwonlyargs:
        yield "*" + (ast.unparse(arguments.vararg) if arguments.vararg else "")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
        yield ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")
    if arguments.kwarg:
        yield "**" + ast.unparse(arguments.kwarg)


def _fields(thing: type) -> list[str]:
    """What the constructor takes: its parameters, or the annotated fields of the class and of those it extends."""
    fields: dict[str, str] = {}
    for owner in thing.__mro__:
        if not owner.__module__.startswith("maml_core"):
            continue
        body = _definition(owner).body
        made = [part for part in body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if made:
            return list(_parameters(made[0].args))[1:]
        fields = {ast.unparse(part.target): ast.unparse(part) for part in body if isinstance(part, ast.AnnAssign)} | fields
    return list(fields.values())


def signature(thing: Documented) -> str:
    """The signature of a function, or of a class's constructor: the source's annotations and defaults, in short lines."""
    node = _definition(thing)
    if isinstance(node, ast.ClassDef):
        parts, head, end = _fields(cast(type, thing)), f"class {node.name}", ""
        if not parts:
            return head
    else:
        parts, head = list(_parameters(node.args)), f"def {node.name}"
        end = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{head}({', '.join(parts)}){end}"
    return line if len(line) <= WIDTH else f"{head}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"


def members(module: ModuleType) -> list[Documented]:
    """Public functions and classes: what a package names in __all__, what a module defines, in the order of its source."""
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    found = [thing for name in names if inspect.isfunction(thing := getattr(module, name)) or inspect.isclass(thing)]
    if hasattr(module, "__path__"):
        return found
    own = [thing for thing in found if thing.__module__ == module.__name__]
    return sorted(own, key=lambda thing: inspect.getsourcelines(thing)[1])


def _methods(thing: type) -> Iterator[Documented]:
    """Public methods and properties that the class itself defines and describes."""
    for name, value in vars(thing).items():
        value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(value) and value.__doc__:
            yield value


def _entry(thing: Documented, level: int = 2) -> str:
    path = Path(str(inspect.getsourcefile(inspect.unwrap(thing)))).resolve().relative_to(ROOT).as_posix()
    where = f'<a class="source" href="{source(path)}#L{inspect.getsourcelines(thing)[1]}">source of {thing.__name__}</a>'
    name = thing.__qualname__ if level > 2 else thing.__name__
    text = f"{'#' * level} {name}\n\n```python\n{signature(thing)}\n```\n\n"
    text += f"```{{raw}} html\n<div class=docstring>{docstring(inspect.getdoc(thing))}\n{where}</div>\n```\n"
    return text + "".join(f"\n{_entry(method, 3)}" for method in (_methods(thing) if inspect.isclass(thing) else ()))


def module_page(name: str) -> str:
    """The page of a module of `maml_core`."""
    module = import_module(f"maml_core.{name}")
    about = f"```{{raw}} html\n<div class=docstring>{docstring(module.__doc__)}</div>\n```"
    return "\n\n".join([f"# maml_core.{name}", about, *map(_entry, members(module))])


def index_page() -> str:
    """What `maml_core` exports, with the first line of each docstring, and the list of modules."""
    home = {thing: name for name in MODULES for thing in members(import_module(f"maml_core.{name}"))}
    rows = []
    for name in maml_core.__all__:
        thing = getattr(maml_core, name)
        first = (inspect.getdoc(thing) or "").splitlines()[0].replace("|", "\\|").replace("*", "\\*").replace("[", "\\[")
        rows.append(f"| [`{name}`]({home[thing]}.md#{name.lower()}) | {first} |")
    modules = "\n".join(["```{toctree}", ":maxdepth: 1", *MODULES, "```"])
    return "\n".join(
        ["# API reference", "", "What `from maml_core import ...` offers:", "", "| name | what it is |", "|---|---|", *rows,
         "", "The modules behind it:", "", modules, ""]
    )  # fmt: skip
