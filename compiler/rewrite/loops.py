"""Loops that compute the same are one, so are stacks of one value; what nothing reads is no result of a loop or branch.

Differentiation makes loops that do again what a loop of the user does, and leave more behind.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..graph import build as b
from ..graph import sites
from ..graph.contraction import plain
from ..graph.control import Body, bodies, item
from ..graph.node import Node, make, toposort
from ..graph.program import Program
from ..graph.substitute import substitute


def tidy_loops(program: Program) -> tuple[Program, int]:
    """The program with equal loops merged and unread results gone (the same object if nothing was), and how many."""
    roots = list(program.roots)
    count = [0]
    new = _tidy(roots, count)
    values = {old: n for old, n in zip(roots, new, strict=True) if n is not old}
    return (program.replaced(values), count[0]) if values else (program, 0)


def _tidy(roots: Sequence[Node], count: list[int]) -> list[Node]:
    """Inner loops first; recursion follows the nesting of loops, not the graph."""
    changes = {}
    for node in toposort(roots):
        inner = [Body(body.params, _tidy(body.outputs, count)) for body in bodies(node)]
        if tuple(inner) != bodies(node):
            with sites.at(node.sites, node.stems_from):
                changes[node] = make(node.op, node.inputs, *inner, *node.attrs[len(inner) :])
    roots = _exchanged(roots, changes)
    for step in (_unrolled, _merged, _shared, _settled, _oriented, _pruned):
        changes = step(roots)
        count[0] += len(changes)
        roots = _exchanged(roots, changes)
    return list(roots)


def _exchanged(roots: Sequence[Node], changes: dict[Node, Node]) -> list[Node]:
    """Nodes for others, to a fixed point: what replaces a node may itself stand on one that is replaced."""
    new = list(roots)
    while changes:
        before, new = new, substitute(new, changes)
        if before == new:
            break
    return new


def _unrolled(roots: Sequence[Node]) -> dict[Node, Node]:
    """Results of loops that run never or once, without the loop."""
    changes: dict[Node, Node] = {}
    for node in toposort(roots):
        if node.op.name != "item" or node.inputs[0].op.name != "scan" or node.inputs[0]["length"] not in (0, 1):
            continue
        loop, number = node.inputs[0], node["number"]
        n, m, body = loop["n_carry"], loop["n_carry"] + loop["n_xs"], loop["body"]
        with sites.at(node.sites, node.stems_from):
            if loop["length"] == 0:
                changes[node] = loop.inputs[number] if number < n else b.full(0, node.shape, node.dtype)
                continue
            operands = [b.reshape(x, x.shape[1:]) if n <= k < m else x for k, x in enumerate(loop.inputs)]
            (value,) = substitute([body.outputs[number]], dict(zip(body.params, operands, strict=True)))
            changes[node] = b.reshape(value, node.shape)
    return changes


def _merged(roots: Sequence[Node]) -> dict[Node, Node]:
    """Results of loops for equal results of loops that do more."""
    groups: dict[object, list[Node]] = {}
    order = toposort(roots)
    for node in order:
        if node.op.name == "scan":
            groups.setdefault((node["length"], node["reverse"]), []).append(node)
        elif node.op.name == "while":
            groups.setdefault((node["test"].outputs, node["limit"]), []).append(node)
    homes: dict[Node, tuple[Node, dict[int, int]]] = {}
    for group in groups.values():
        group.sort(key=lambda n: -len(n["body"].outputs))
        for k, small in enumerate(group):
            for big in group[:k]:
                if big not in homes and (places := _places(small, big)) is not None and small not in toposort([big]):
                    homes[small] = (big, places)
                    break
    changes = {}
    for node in order:
        if node.op.name == "item" and node.inputs[0] in homes:
            home, places = homes[node.inputs[0]]
            with sites.at(node.sites, node.stems_from):
                changes[node] = item(home, places[node["number"]])
    return changes


def _places(small: Node, big: Node) -> dict[int, int] | None:
    """Where a loop has the results of another one that it contains; None if it does not contain it."""
    if small.op.name == "while" and small["trips"] not in (None, big["trips"]):
        return None
    mine, theirs = small["body"], big["body"]
    at = {param: k for k, param in enumerate(theirs.params)}
    places = {}
    for k, (param, operand) in enumerate(zip(mine.params, small.inputs, strict=True)):
        j = at.get(param)
        if j is None or big.inputs[j] is not operand or _role(big, j) != _role(small, k):
            return None
        if k < small["n_carry"]:
            if theirs.outputs[j] is not mine.outputs[k]:
                return None
            places[k] = j
    ys = {y: k for k, y in enumerate(theirs.outputs) if k >= big["n_carry"]}
    for k in range(small["n_carry"], len(mine.outputs)):
        if mine.outputs[k] not in ys:
            return None
        places[k] = ys[mine.outputs[k]]
    return places


def _shared(roots: Sequence[Node]) -> dict[Node, Node]:
    """Stacks of one value that a loop leaves behind twice are one."""
    changes = {}
    for node in toposort(roots):
        if node.op.name != "item" or node.inputs[0].op.name not in ("scan", "while"):
            continue
        loop, number = node.inputs[0], node["number"]
        if number >= loop["n_carry"]:
            outputs = loop["body"].outputs
            first = outputs.index(outputs[number], loop["n_carry"])
            if first != number:
                with sites.at(node.sites, node.stems_from):
                    changes[node] = item(loop, first)
    return changes


def _settled(roots: Sequence[Node]) -> dict[Node, Node]:
    """Loops without the carries that every iteration hands on as they are: these are closed over."""
    changes: dict[Node, Node] = {}
    made: dict[Node, tuple[Node | None, list[int]]] = {}
    for node in toposort(roots):
        if node.op.name != "item" or node.inputs[0].op.name not in ("scan", "while"):
            continue
        loop, number = node.inputs[0], node["number"]
        outputs, params, n = loop["body"].outputs, loop["body"].params, loop["n_carry"]
        fixed = [k for k in range(n) if outputs[k] is params[k]]
        if not fixed:
            continue
        if number in fixed:
            changes[node] = loop.inputs[number]
            continue
        if loop not in made:
            made[loop] = _without_carries(loop, fixed)
        smaller, order = made[loop]
        if smaller is not None:
            with sites.at(node.sites, node.stems_from):
                changes[node] = item(smaller, order.index(number))
    return changes


def _without_carries(node: Node, fixed: Sequence[int]) -> tuple[Node | None, list[int]]:
    """The loop with some carries closed over, and which results it keeps, in order; None if a `while` would then
    carry nothing, so that its end is not its own doing."""
    body, n = node["body"], node["n_carry"]
    left = [k for k in range(len(body.params)) if k not in fixed]
    order = [k for k in range(len(body.outputs)) if k not in fixed]
    if node.op.name == "while" and len(fixed) == n:
        return None, order
    used = [*left, *fixed]
    inputs, params = [node.inputs[k] for k in used], [body.params[k] for k in used]
    smaller = Body(params, [body.outputs[k] for k in order])
    with sites.at(node.sites, node.stems_from):
        if node.op.name == "scan":
            return make(node.op, inputs, smaller, n - len(fixed), *node.attrs[2:]), order
        test = Body(params, node["test"].outputs)
        return make(node.op, inputs, test, smaller, n - len(fixed), *node.attrs[3:]), order


def _sequences(node: Node) -> int:
    return int(node["n_xs"]) if node.op.name == "scan" else 0


def _role(node: Node, k: int) -> int:
    """0 for a carry, 1 for a sequence, 2 for what is closed over."""
    return int(k >= node["n_carry"]) + int(k >= node["n_carry"] + _sequences(node))


def _oriented(roots: Sequence[Node]) -> dict[Node, Node]:
    """Loops whose contractions read a fixed matrix along its rows: what lies across is turned once, before the loop."""
    read: dict[Node, list[Node]] = {}
    for node in toposort(roots):
        if node.op.name == "item" and node.inputs[0].op.name in ("scan", "while"):
            read.setdefault(node.inputs[0], []).append(node)
    changes = {}
    for node, items in read.items():
        turned = _turned(node)
        if turned is not None:
            for old in items:
                with sites.at(old.sites, old.stems_from):
                    changes[old] = item(turned, old["number"])
    return changes


def _turned(node: Node) -> Node | None:
    body = node["body"]
    fixed = {p: x for k, (p, x) in enumerate(zip(body.params, node.inputs, strict=True)) if _role(node, k) == 2}
    params, inputs = list(body.params), list(node.inputs)
    position = 1 + max((p["position"] for p in params), default=-1)
    known: dict[tuple[Node, tuple[int, ...]], Node] = {}
    new: dict[Node, Node] = {}
    for inner in toposort(body.outputs):
        operands, attrs = [new[i] for i in inner.inputs], inner.attrs
        if inner.op.name == "contract" and inner["n_out"]:
            maps = [inner["a_map"], inner["b_map"]]
            for k, (x, axes) in enumerate(zip(inner.inputs, maps, strict=True)):
                across = [a for a, axis in enumerate(axes) if axis == plain(inner["n_out"] - 1)]
                if x not in fixed or len(across) != 1 or across[0] == len(axes) - 1:
                    continue
                order = (*(a for a in range(len(axes)) if a != across[0]), across[0])
                if (x, order) not in known:
                    outside = b.permute(fixed[x], order)
                    param = make("param", (), x["depth"], position + len(known), outside.shape, outside.dtype)
                    known[x, order] = param
                    params.append(param)
                    inputs.append(outside)
                operands[k], maps[k] = known[x, order], tuple(axes[a] for a in order)
            attrs = (inner["extents"], inner["n_out"], *maps)
        with sites.at(inner.sites, inner.stems_from):
            new[inner] = inner if operands == list(inner.inputs) else make(inner.op, operands, *attrs)
    if not known:
        return None
    with sites.at(node.sites, node.stems_from):
        whole = Body(params, [new[o] for o in body.outputs])
        if node.op.name == "scan":
            return make(node.op, inputs, whole, *node.attrs[1:])
        return make(node.op, inputs, Body(params, node["test"].outputs), whole, *node.attrs[2:])


def _pruned(roots: Sequence[Node]) -> dict[Node, Node]:
    """Loops and branches without the results and carries that nothing reads."""
    read: dict[Node, dict[int, Node]] = {}
    for node in toposort(roots):
        if node.op.name == "item":
            read.setdefault(node.inputs[0], {})[node["number"]] = node
    changes = {}
    for node, items in read.items():
        with sites.at(node.sites, node.stems_from):
            found = _smaller_branch(node, items) if node.op.name == "cond" else _smaller_loop(node, items)
        if found is None:
            continue
        smaller, order = found
        for k, old in items.items():
            with sites.at(old.sites, old.stems_from):
                changes[old] = item(smaller, order.index(k))
    return changes


def _smaller_branch(node: Node, kept: Collection[int]) -> tuple[Node, list[int]] | None:
    order, inner = sorted(kept), bodies(node)
    below = set(toposort([body.outputs[k] for body in inner for k in order]))
    params = inner[0].params
    used = [k for k, p in enumerate(params) if p in below]
    if len(order) == len(inner[0].outputs) and len(used) == len(params):
        return None
    sides = [Body([params[k] for k in used], [body.outputs[k] for k in order]) for body in inner]
    return make(node.op, [node.inputs[0], *(node.inputs[k + 1] for k in used)], *sides), order


def _smaller_loop(node: Node, read: Collection[int]) -> tuple[Node, list[int]] | None:
    body, n = node["body"], node["n_carry"]
    test = node["test"].outputs if node.op.name == "while" else ()
    kept = set(read)
    while True:
        below = set(toposort([*test, *(body.outputs[k] for k in sorted(kept))]))
        late = {k for k in range(n) if body.params[k] in below} - kept
        if not late:
            break
        kept |= late
    used = [k for k, p in enumerate(body.params) if (k in kept if k < n else p in below)]
    n_carry = sum(_role(node, k) == 0 for k in used)
    told = node.op.name == "while" or isinstance(node["length"], int) or not _sequences(node)
    if not told and not any(_role(node, k) == 1 for k in used):
        used.insert(n_carry, n)  # a sequence tells how long the loop is
    if len(kept) == len(body.outputs) and len(used) == len(body.params):
        return None
    order, params = sorted(kept), [body.params[k] for k in used]
    inputs, smaller = [node.inputs[k] for k in used], Body(params, [body.outputs[k] for k in order])
    if node.op.name == "scan":
        n_xs = sum(_role(node, k) == 1 for k in used)
        return make(node.op, inputs, smaller, n_carry, n_xs, node["length"], node["reverse"]), order
    trips = node["trips"] if any(k >= n for k in order) else None
    return make(node.op, inputs, Body(params, test), smaller, n_carry, trips, node["limit"]), order
