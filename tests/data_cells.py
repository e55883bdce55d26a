"""Which cells of a notebook read characters, so that their outputs depend on whether Omniglot is on disk.

Derived from the code: whatever is made of what `load_characters` returns reads characters as well, name by name and
cell by cell in the order of the notebook.
"""

import ast
from collections.abc import Iterable

from nbformat import NotebookNode

TAG = "reads-characters"
SOURCES = {"load_characters", "load_omniglot"}
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
FUNCTIONS = ast.FunctionDef | ast.Lambda


def cells_that_read_characters(notebook: NotebookNode) -> list[int]:
    """Positions of the code cells that use characters, or anything made of them."""
    code = {i: ast.parse(_without_magics(cell.source)) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
    imports = [node for cell in code.values() for node in ast.walk(cell) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {name.asname or name.name for node in imports for name in node.names}
    made_of_characters = set(SOURCES)
    reading = []
    for position, cell in code.items():
        if _run(cell.body, made_of_characters):
            reading.append(position)
        made_of_characters -= imported - SOURCES  # `figures.draw(x)` may change an object, but no module
    return reading


def _run(statements: Iterable[ast.stmt], tainted: set[str]) -> bool:
    """Follow the statements, updating `tainted` as they bind names; whether any of them reads a tainted name."""
    reads = [_step(statement, tainted) for statement in statements]  # a list: every statement has to be followed
    return any(reads)


def _step(statement: ast.stmt, tainted: set[str]) -> bool:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return False
    if isinstance(statement, ast.For | ast.While | ast.If | ast.With):
        heads = [node for node in ast.iter_child_nodes(statement) if not isinstance(node, ast.stmt)]
        reads, bound = any(_read(head) & tainted for head in heads), set().union(*map(_bound, heads))
        tainted.update(bound) if reads else tainted.difference_update(bound)
        return _run([*statement.body, *getattr(statement, "orelse", [])], tainted) or reads
    reads = bool(_read(statement) & tainted)
    if reads:
        tainted |= _bound(statement)
    elif isinstance(statement, ast.Assign):
        tainted -= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return reads


def _read(node: ast.AST) -> set[str]:
    """Names that a piece of code reads and does not bind for itself, as a comprehension or a function does."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    inside = set().union(*map(_read, ast.iter_child_nodes(node)))
    if isinstance(node, COMPREHENSIONS | FUNCTIONS):
        inside -= {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
        inside -= {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
    return inside


def _bound(node: ast.AST) -> set[str]:
    """Names that it binds, and those of objects that it may change: `seen[i] = x`, `rows.append(x)`."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
        return {node.value.id}
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, COMPREHENSIONS | ast.Lambda):
        return set()
    changed = set()
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        changed = _read(node.value.func.value)
    return changed.union(*map(_bound, ast.iter_child_nodes(node)))


def _without_magics(source: str) -> str:
    """The cell as Python: lines such as `%timeit` are left out."""
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))
