"""Two matrix identities that the compiler does not know, as a pass over the compiled graph.

Differentiating a batched product twice leaves products in a form that is needlessly expensive:

  transposed   (A B)^T = B^T A^T. Where a product is used only transposed, compute the transpose directly: the second
               derivative of h @ w forms a [9C, P] product and reads it as [P, 9C], which is slow to compute and slower
               to read.
  shared       stack(A_1 w, ..., A_T w) = stack(A_1, ..., A_T) w. In the first inner step all tasks still share theta,
               so T small products are one large product.

Both are exact and leave the rest of the graph unchanged. `Rewrite` is passed to `torch.compile`.
"""

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph, Node
from torch.fx.node import Argument

aten = torch.ops.aten


class Rewrite(CustomGraphPass):
    """Apply both identities to an inductor graph, in place."""

    def __call__(self, graph: Graph) -> None:
        for node in list(graph.nodes):
            if node.target == aten.bmm.default:
                _share(graph, _transpose(graph, node))
        graph.eliminate_dead_code()
        graph.lint()

    def uuid(self) -> bytes:
        """A key for torch's cache on disk: editing this file invalidates the graphs that it compiled."""
        return get_hash_for_files((__file__,))


def _is_transpose(node: Node) -> bool:
    return node.target == aten.permute.default and isinstance(node.args[1], list | tuple) and [*node.args[1]] == [0, 2, 1]


def _call(graph: Graph, operator: torch._ops.OpOverload, *arguments: Argument) -> Node:
    """A new node with its shape and strides in `meta`, where later passes look them up."""
    node = graph.call_function(operator, arguments)
    node.meta["val"] = operator(*torch.fx.map_arg(arguments, lambda n: n.meta["val"]))
    return node


def _transpose(graph: Graph, product: Node) -> Node:
    """A B -> B^T A^T if every user transposes the product; returns the product now in the graph."""
    if not product.users or not all(_is_transpose(user) for user in product.users):
        return product
    with graph.inserting_before(product):
        left, right = (_call(graph, aten.permute.default, factor, [0, 2, 1]) for factor in product.args)
        transposed = _call(graph, aten.bmm.default, right, left)
    for user in list(product.users):
        user.replace_all_uses_with(transposed)
        graph.erase_node(user)
    graph.erase_node(product)
    return transposed


def _share(graph: Graph, product: Node) -> None:
    """stack(A_i w) -> stack(A_i) w if the second factor is a single matrix, expanded along the task axis."""
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
        flat = _call(graph, aten.mm.default, stacked, single)
        result = _call(graph, aten.reshape.default, flat, [tasks, rows, w.shape[2]])
    product.replace_all_uses_with(result)
    graph.erase_node(product)
