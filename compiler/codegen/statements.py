"""Stores and reductions to C: straight lines of statements, one element at a time or in lanes."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import index
from ..graph.dtypes import BOOL, INT64
from ..graph.index import Index, IVar
from ..lower.ir import Buf, Expr, IndexValue, Load, Reduce, Store, expressions
from ..lower.schedule import identity_of
from .expr import ExprPrinter, Value
from .types import element, lane, mask_of, memory


class StatementPrinter(ExprPrinter):
    """Prints what a straight line writes."""

    def run(self, segment: Sequence[Store | Reduce], memo: dict[int, Value]) -> None:
        """A straight line of statements: all values first, so that what is overwritten in place is read before."""
        stored = {s.buf for s in segment if s.buf.storage in ("arg", "arena", "view")}
        roots: list[Expr] = []
        for s in segment:
            roots.extend(s.value.args if is_pair(s) else [s.value])  # type: ignore[union-attr]
        if len(segment) > 1:
            early = [e for e in expressions(roots) if isinstance(e, Load) and e.buf in stored]
            for e, v in zip(early, self.values(early, memo), strict=True):
                memo[id(e)] = v if v.text.isidentifier() else self.name(v, "old")
        self.values(roots, memo)
        for s in segment:
            if isinstance(s, Store):
                self.store(s, memo[id(s.value)])
            else:
                parts = s.value.args if is_pair(s) else (s.value,)  # type: ignore[union-attr]
                self.reduce(s, [memo[id(p)] for p in parts])

    def store(self, s: Store, value: Value) -> None:
        buf = s.buf
        if buf.storage == "lanes":
            lanes, copies = self.acc_lanes[buf]
            t = lane(element(buf.dtype), lanes)
            for c in range(copies):
                self.emit(f"{self.registers[(buf, (), c)]} = {self.call('splat', t, value.text)};")
            return
        if buf.storage == "register":
            home = self.register(buf, s.index)
            if "x" in home.type and "x" not in value.type:
                value = Value(self.call("splat", home.type, value.text), home.type)
            self.emit(f"{home.text} = {value.text};")
            return
        if self.lanes is None:
            text = f"{self.buffer(buf)}[{self.index(self.offset(buf, s.index))}]"
            self.emit(f"{text} = {self.scalar_memory(value, buf)};")
            return
        offset = index.linear_strides(s.index, buf.strides)
        stride = offset.affine_in(self.lanes.var)
        at = index.substitute(offset, {self.lanes.var: self.lanes.at})
        if stride == 0:
            self.emit(f"{self.buffer(buf)}[{self.index(at)}] = {self.scalar_memory(value, buf)};")
            return
        t, vector = self.memory_vector(value, buf)
        pointer = self.pointer(buf, at)
        count = self.lanes.count
        if stride is None:
            self.store_lane_by_lane(s, t, vector, count)
            return
        if stride == 1:
            text = self.call("store", t, pointer, vector) if count is None else (
                self.call("store_n", t, pointer, vector, count)
            )
        else:
            text = self.call("store_s", t, pointer, vector, self.extent(stride), count or str(self.lanes.width))
        self.emit(text + ";")

    def store_lane_by_lane(self, s: Store, t: str, vector: str, count: str | None) -> None:
        """Stores lanes to places that no stride describes."""
        assert self.lanes is not None
        lanes, buf = self.lanes, s.buf
        array, l = self.names.temp("lane"), self.names.temp("l")
        var = IVar(l, lanes.width)
        self.names.vars[var] = l
        inside = {lanes.var: index.add(lanes.at, index.of(var))}
        at = index.substitute(index.linear_strides(s.index, buf.strides), inside)
        self.emit(f"{memory(buf.dtype)} {array}[{lanes.width}];")
        self.emit(self.call("store", t, array, vector) + ";")
        self.emit(f"for (int64_t {l} = 0; {l} < {count or lanes.width}; {l}++)")
        self.emit(f"  {self.buffer(buf)}[{self.index(at)}] = {array}[{l}];")

    def scalar_memory(self, value: Value, buf: Buf) -> str:
        return f"(uint8_t){value.wrapped}" if buf.dtype == BOOL else value.text

    def memory_vector(self, value: Value, buf: Buf) -> tuple[str, str]:
        """The lane type in memory and the vector to store: masks become bytes."""
        assert self.lanes is not None
        t = lane(element(buf.dtype), self.lanes.width)
        vector = self.splat(value, buf.dtype)
        if buf.dtype == BOOL:
            return t, self.call(f"cvt_{vector.type.split('x')[0]}", t, vector.text)
        return t, vector.text

    def reduce(self, s: Reduce, parts: list[Value]) -> None:
        buf = s.buf
        if s.combine == "argmax":
            self.argmax(s, parts[0])
            return
        if self.lanes is None or (buf.storage == "register" and not buf.shape):
            target = self.register(buf, s.index).text if buf.storage == "register" else (
                f"{self.buffer(buf)}[{self.index(self.offset(buf, s.index))}]"
            )
            t = element(buf.dtype)
            self.emit(f"{target} = {self.combine(s.combine, t, target, [p.wrapped for p in parts])};")
            return
        t = lane(element(buf.dtype), self.lanes.width)
        vectors = [self.splat(p, buf.dtype).text for p in parts]
        if buf.storage in ("lanes", "register"):
            target = self.register(buf, s.index).text
            if self.lanes.count is not None:
                mask = self.call("first_n", lane(mask_of(buf.dtype), self.lanes.width), self.lanes.count)
                zero = identity_of(s.combine, buf.dtype)
                other = self.call("splat", t, self.literal(zero.value, zero.dtype))
                vectors = [self.call("select", t, mask, v, other) for v in vectors]
            self.emit(f"{target} = {self.combine(s.combine, t, target, vectors)};")
            return
        offset = index.linear_strides(s.index, buf.strides)
        stride = offset.affine_in(self.lanes.var)
        at = index.substitute(offset, {self.lanes.var: self.lanes.at})
        pointer, count = self.pointer(buf, at), self.lanes.count
        if stride != 1:
            assert stride is not None and stride != 0, "an accumulator has a place of its own for every lane"
            step, lanes = self.extent(stride), count or str(self.lanes.width)
            new = self.combine(s.combine, t, self.call("load_sn", t, pointer, step, lanes), vectors)
            self.emit(self.call("store_s", t, pointer, new, step, lanes) + ";")
            return
        old = self.call("load", t, pointer) if count is None else self.call("load_n", t, pointer, count)
        new = self.combine(s.combine, t, old, vectors)
        text = self.call("store", t, pointer, new) if count is None else self.call("store_n", t, pointer, new, count)
        self.emit(text + ";")

    def combine(self, combine: str, t: str, target: str, parts: list[str]) -> str:
        if combine == "fma":
            return self.call("fma", t, *parts, target)
        if combine in ("add", "mul") and t in ("f32", "f64"):
            return f"{target} {'+' if combine == 'add' else '*'} {parts[0]}"
        return self.call(combine, t, target, parts[0])

    def argmax(self, s: Reduce, value: Value) -> None:
        """Keeps the first NaN, else the first greatest: in registers, or for every lane of its own."""
        assert s.positions is not None and s.position is not None
        if self.lanes is not None:
            self.argmax_lanes(s, self.splat(value, s.buf.dtype))
            return
        best, where = self.register(s.buf, ()).text, self.register(s.positions, ()).text
        name = value.text if value.text.isidentifier() else self.name(value, "v").text
        self.emit(f"if ({where} < 0 || (({name} > {best} || {name} != {name}) && {best} == {best})) {{")
        self.emit(f"  {best} = {name};")
        self.emit(f"  {where} = {self.index(s.position)};")
        self.emit("}")

    def argmax_lanes(self, s: Reduce, value: Value) -> None:
        """Lanes that are beaten take the value and its position; those that do not exist are beaten by nothing."""
        assert self.lanes is not None and s.positions is not None and s.position is not None
        dtype, width, count = s.buf.dtype, self.lanes.width, self.lanes.count
        t, at = lane(element(dtype), width), lane("i64", width)
        mask = lane(mask_of(dtype), width)
        v = value if value.text.isidentifier() else self.name(value, "v")
        position = IndexValue(s.position, INT64)
        here = self.splat(self.index_value(position, bool(self.varies([position]))), INT64)
        if s.buf.storage == "lanes":
            best, where = self.register(s.buf, ()).text, self.register(s.positions, ()).text
        else:
            pointers = [self.pointer(b, self.lane_offset(b, s.index)) for b in (s.buf, s.positions)]
            best = self.name(Value(self.call("load", t, pointers[0]), t), "best").text
            where = self.call("load", at, pointers[1])
        if dtype.kind == "f":
            beaten = self.call("not", mask, self.call("le", t, v.text, best))
            beaten = self.call("and", mask, beaten, self.call("eq", t, best, best))
        else:
            beaten = self.call("gt", t, v.text, best)
        if count is not None:
            beaten = self.call("and", mask, beaten, self.call("first_n", mask, count))
        lost = self.name(Value(beaten, mask), "beaten")
        values = self.call("select", t, lost.text, v.text, best)
        wide = self.to_mask(lost, "m64")
        positions = self.call("select", at, wide.text, here.text, where)
        if s.buf.storage == "lanes":
            self.emit(f"{best} = {values};")
            self.emit(f"{where} = {positions};")
            return
        self.emit(self.call("store", t, pointers[0], values) + ";")
        self.emit(self.call("store", at, pointers[1], positions) + ";")

    def lane_offset(self, buf: Buf, at: tuple[Index, ...]) -> Index:
        """Where the first lane of a place in scratch lies, which has room for whole vectors."""
        assert self.lanes is not None
        offset = index.linear_strides(at, buf.strides)
        assert offset.affine_in(self.lanes.var) == 1
        return index.substitute(offset, {self.lanes.var: self.lanes.at})


def is_pair(s: Store | Reduce) -> bool:
    return isinstance(s, Reduce) and s.combine == "fma"
