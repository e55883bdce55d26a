"""Two identities that the compiler does not know, applied to the compiled graph.

Differentiating a batched product twice leaves products in a form that costs more than it must:

  transposed   (A B)^T = B^T A^T. Where all that is wanted of a product is its transpose, form that at once: the
               second derivative of h @ w asks for a [9C, P] product to read it as [P, 9C], which is slow to
               compute and slower to read.
  shared       stack(A_1 w, ..., A_T w) = stack(A_1, ..., A_T) w. In the first inner step all tasks still have the
               same theta, so T small products are a single large one.

Both are exact, and leave the rest of the graph alone. `Rewrite` is handed to `torch.compile`.
"""

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph, Node
from torch.fx.node import Argument

aten = torch.ops.aten


class Rewrite(CustomGraphPass):
    """Both identities on an inductor graph, in place."""

    def __call__(self, graph: Graph) -> None:
        for node in list(graph.nodes):
            if node.target == aten.bmm.default:
                _share(graph, _transpose(graph, node))
        graph.eliminate_dead_code()
        graph.lint()

    def uuid(self) -> bytes:
        """Compiled graphs are cached on disk; a change to this file makes them stale."""
        return get_hash_for_files((__file__,))


def _is_transpose(node: Node) -> bool:
    return node.target == aten.permute.default and isinstance(node.args[1], list | tuple) and [*node.args[1]] == [0, 2, 1]


def _call(graph: Graph, operator: torch._ops.OpOverload, *arguments: Argument) -> Node:
    """A new node that knows its shape and strides, which later passes read from it."""
    node = graph.call_function(operator, arguments)
    node.meta["val"] = operator(*torch.fx.map_arg(arguments, lambda n: n.meta["val"]))
    return node


def _transpose(graph: Graph, product: Node) -> Node:
    """A B -> B^T A^T where every user transposes the product; returns the product that is left."""
    if not product.users or not all(_is_transpose(user) for user in product.users):
        return product
    with graph.inserting_before(product):
        left, right = (_call(graph, aten.permute.default, factor, [0, 2, 1]) for factor in product.args)
        turned = _call(graph, aten.bmm.default, right, left)
    for user in list(product.users):
        user.replace_all_uses_with(turned)
        graph.erase_node(user)
    graph.erase_node(product)
    return turned


def _share(graph: Graph, product: Node) -> None:
    """stack(A_i w) -> stack(A_i) w where the second factor is one matrix, expanded along the task axis."""
    left, right = (factor for factor in product.args if isinstance(factor, Node))
    a, w = left.meta["val"], right.meta["val"]
    tasks, rows, inner = a.shape
    if w.stride(0) != 0 or a.stride(0) != rows * a.stride(1):
        return
    if 1 in (tasks, rows, inner, w.shape[2]):  # a sum or an outer product, which the compiler fuses with its neighbours
        return
    with graph.inserting_before(product):
        stacked = _call(graph, aten.reshape.default, left, [tasks * rows, inner])
        single = _call(graph, aten.select.int, right, 0, 0)
        whole = _call(graph, aten.mm.default, stacked, single)
        parted = _call(graph, aten.reshape.default, whole, [tasks, rows, w.shape[2]])
    product.replace_all_uses_with(parted)
    graph.erase_node(product)
