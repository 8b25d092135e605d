"""Expressions to C: scalars as ordinary operators, vectors as lane functions.

A block's expressions are linearised: a value that is used twice, or whose text grows long, becomes a named constant.
Nothing recurses, so the depth of a graph is not the depth of the C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from ..graph import index
from ..graph.dtypes import BOOL, DType
from ..graph.index import Guard, Index, IVar
from ..graph.sizes import Extent
from ..lower.ir import Across, Buf, Const, Expr, Guarded, IndexValue, Load, Op, expressions, operands
from .indices import IndexPrinter
from .types import element, lane, mask_of, memory

LONG = 56  # characters after which a nested expression gets a name
_OPERATORS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_FLOAT_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_LOGIC = {"and": "&&", "or": "||"}

BOUNDLESS = 1 << 60  # more elements than an array has


@dataclass(eq=False, slots=True)
class Value:
    """A printed expression: text, lane type (`f32x16`, `m32`), and whether it is a name or needs parentheses."""

    text: str
    type: str
    atom: bool = True

    @property
    def wrapped(self) -> str:
        return self.text if self.atom else f"({self.text})"


class ExprPrinter(IndexPrinter):
    """Prints expressions of one function."""

    def varies(self, order: Sequence[Expr]) -> set[int]:
        """Which of the expressions, operands first, differ between the lanes of the current vector loop, by id."""
        found: set[int] = set()
        if self.lanes is None:
            return found
        var = self.lanes.var
        for e in order:
            if any(id(o) in found for o in operands(e)):
                found.add(id(e))
            elif isinstance(e, Load):
                if any(var in i.vars() for i in e.index) or any(var in g.index.vars() for g in e.guards):
                    found.add(id(e))
                elif e.buf.storage == "register" and e.buf.shape:
                    found.add(id(e))
            elif isinstance(e, IndexValue):
                if var in e.index.vars():
                    found.add(id(e))
            elif isinstance(e, Guarded) and any(var in g.index.vars() for g in e.guards):
                found.add(id(e))
        return found

    def values(self, roots: Sequence[Expr], memo: dict[int, Value]) -> list[Value]:
        """Prints expressions, naming shared and long ones; `memo` carries what is already printed."""
        order = expressions(roots)
        uses: dict[int, int] = {}
        for e in order:
            for o in operands(e):
                uses[id(o)] = uses.get(id(o), 0) + 1
        for r in roots:
            uses[id(r)] = uses.get(id(r), 0) + 1
        varying = self.varies(order)
        for e in order:
            if id(e) in memo:
                continue
            if isinstance(e, Op) and e.name == "pair":
                continue
            value = self.print(e, memo, id(e) in varying)
            heavy = isinstance(e, Load) and e.buf.storage != "register" and id(e) in varying
            if (uses[id(e)] > 1 or len(value.text) > LONG or heavy) and not isinstance(e, Const) and not _name(value):
                value = self.name(value, _stem(e))
            memo[id(e)] = value
        return [memo[id(r)] if id(r) in memo else Value("", "") for r in roots]

    def name(self, value: Value, stem: str) -> Value:
        temp = self.names.temp(stem)
        self.emit(f"const {self.ctype(value.type)} {temp} = {value.text};")
        return Value(temp, value.type)

    def print(self, e: Expr, memo: dict[int, Value], varies: bool) -> Value:
        if isinstance(e, Const):
            return Value(self.literal(e.value, e.dtype), "m32" if e.dtype == BOOL else element(e.dtype))
        if isinstance(e, Load):
            return self.load(e, memo, varies)
        if isinstance(e, IndexValue):
            return self.index_value(e, varies)
        if isinstance(e, Across):
            return self.across(e)
        if isinstance(e, Guarded):
            return self.guarded(e, memo, varies)
        return self.operation(e, [memo[id(a)] for a in e.args], varies, memo)

    def splat(self, v: Value, dtype: DType) -> Value:
        """A uniform value as a vector of the current width."""
        assert self.lanes is not None
        if "x" in v.type:
            return v
        kind = v.type if dtype == BOOL else element(dtype)
        t = lane(kind, self.lanes.width)
        return Value(self.call("splat", t, v.text), t)

    def to_mask(self, v: Value, kind: str) -> Value:
        """A mask as wide as `kind`, m32 or m64."""
        have, _, width = v.type.partition("x")
        if have == kind or not width:
            return v
        t = f"{kind}x{width}"
        return Value(self.call(f"cvt_{have}", t, v.text), t)

    def load(self, e: Load, memo: dict[int, Value], varies: bool) -> Value:
        buf = e.buf
        if buf.storage in ("register", "lanes"):
            return self.register(buf, e.index)
        scalar = "m32" if e.dtype == BOOL else element(e.dtype)
        fill = memo[id(e.fill)] if e.fill is not None else None
        if not varies:
            text = f"{self.buffer(buf)}[{self.index(self.offset(buf, e.index))}]"
            if e.guards:
                assert fill is not None
                return Value(f"{self.condition(e.guards)} ? {text} : {fill.wrapped}", scalar, False)
            return Value(text, scalar)
        assert self.lanes is not None
        lanes = self.lanes
        t = lane(element(e.dtype), lanes.width)
        offset = index.linear_strides(e.index, buf.strides)
        stride = offset.affine_in(lanes.var)
        uneven = any(lanes.var in g.index.vars() for g in e.guards)
        near = None
        if not uneven and (stride is None or stride == 2 or (stride == 1 and lanes.count is not None)):
            near = self.near(buf, offset, t)
        if (stride is None and near is None) or uneven or (fill is not None and "x" in fill.type):
            return self.lane_by_lane(e, fill, t)
        at = index.substitute(offset, {lanes.var: lanes.at})
        pointer = self.pointer(buf, at)
        if near is not None:
            vector = near
        elif stride == 0:
            vector = Value(self.call("splat", t, f"{self.buffer(buf)}[{self.index(at)}]"), t)
        elif stride == 1:
            if lanes.count is None:
                text = self.call("load", t, pointer)
            else:
                text = self.call("load_n", t, pointer, lanes.count)
            vector = Value(text, t)
        elif lanes.count is None:
            vector = Value(self.call("load_s", t, pointer, self.extent(stride or 0)), t)
        else:
            vector = Value(self.call("load_sn", t, pointer, self.extent(stride or 0), lanes.count), t)
        if e.guards:
            assert fill is not None
            other = self.call("splat", t, fill.text)  # as in memory: bools are still bytes here
            vector = Value(f"{self.condition(e.guards)} ? {vector.text} : {other}", t, False)
        return self.as_value(vector, e.dtype)

    def pattern(self, offset: Index) -> list[int] | None:
        """How far the lanes' values of an index lie from that of the first, where that is known; else None."""
        assert self.lanes is not None
        lanes = self.lanes
        fixed = self.resolve(lanes.at)
        return index.along(self.resolve(offset), lanes.var, lanes.width, None if fixed.terms else fixed)

    def near(self, buf: Buf, offset: Index, t: str) -> Value | None:
        """A vector of elements that lie within two others, picked from these; None where they do not."""
        assert self.lanes is not None
        width, count = self.lanes.width, self.lanes.count or str(self.lanes.width)
        pattern = self.pattern(offset) if buf.dtype.itemsize > 1 and count.isdigit() else None
        if pattern is None:
            return None
        pattern = [place if k < int(count) else 0 for k, place in enumerate(pattern)]
        span = max(pattern) + 1
        if min(pattern) < 0 or span > 2 * width:
            return None
        at = index.substitute(offset, {self.lanes.var: self.lanes.at})
        if span > width:
            # The second vector ends with the last element that is used, so that nothing behind it is read.
            apart = span - width
            pattern = [place if place < width else place - apart + width for place in pattern]
            both = (self.call("load", t, self.pointer(buf, index.add(at, k))) for k in (0, apart))
            return Value(self.call("pick2", t, *both, self.places(pattern, t)), t)
        early = 0 if span == width else self.early(buf, at, width, span)
        side_by_side = pattern[: int(count)] == list(range(int(count)))
        if side_by_side and early != 0 and (early is None or span & (span - 1) == 0):
            return None  # one move, or several: nothing else is as good
        if early is None:
            vector = self.call("load_n", t, self.pointer(buf, at), str(span))
        else:
            pattern = [place + early for place in pattern]
            vector = self.call("load", t, self.pointer(buf, index.add(at, -early)))
        if side_by_side and not early:
            return Value(vector, t)
        return Value(self.call("pick", t, vector, self.places(pattern, t)), t)

    def early(self, buf: Buf, at: Index, width: int, span: int) -> int | None:
        """How many elements before a place a whole vector can be read that lies in the array and holds `span` elements
        from there on; None if it cannot.

        Elements that are read in addition are not used. They must not be written meanwhile by other chunks, and so lie
        in the chunk's own share where the function writes the array.
        """
        found: tuple[Extent, Extent] | None
        at = self.resolve(at)
        room = 1 + sum((n - 1) * s if isinstance(n, int) and isinstance(s, int) else -BOUNDLESS
                       for n, s in zip(buf.shape, buf.strides, strict=True))
        if buf in self.written:
            room = self.shares.get(buf, 0)
            found = _within_share(at, room)
        else:
            found = index.bounds(at)
        if found is None or not isinstance(found[0], int) or not isinstance(found[1], int):
            return None
        early = max(0, found[1] + width - room)
        return early if early + span <= width and found[0] >= early else None

    def places(self, pattern: Sequence[int], t: str) -> str:
        """The name of a table of lane numbers, for vectors of type t."""
        name, kind = self.names.temp("at"), "int64_t" if "64" in t else "int32_t"
        self.emit(f"static const {kind} {name}[{len(pattern)}] = {{{', '.join(map(str, pattern))}}};")
        return name

    def as_value(self, v: Value, dtype: DType) -> Value:
        """Bools in memory become masks in registers."""
        if dtype != BOOL:
            return v
        assert self.lanes is not None
        if not v.atom:
            v = self.name(v, "bits")
        t = lane("m32", self.lanes.width)
        return Value(self.call("cvt_b8", t, v.text), t)

    def lane_by_lane(self, e: Load, fill: Value | None, t: str) -> Value:
        """A vector gathered element by element: indirect, or guarded differently from lane to lane.

        Contiguous elements are loaded at once wherever all lanes lie within the guards.
        """
        assert self.lanes is not None
        lanes = self.lanes
        offset = index.linear_strides(e.index, e.buf.strides)
        contiguous = lanes.count is None and offset.affine_in(lanes.var) == 1
        inside = self.lanes_inside(e.guards) if contiguous else None
        if inside is None:
            return self.as_value(Value(self.call("load", t, self.gathered(e, fill)), t), e.dtype)
        vector = self.names.temp("x")
        pointer = self.pointer(e.buf, index.substitute(offset, {lanes.var: lanes.at}))
        self.emit(f"{self.ctype(t)} {vector};")
        self.emit(f"if ({inside[0]}) {vector} = {self.call('load', t, pointer)};")
        self.emit("else {")
        self.indent += 1
        self.emit(f"{vector} = {self.call('load', t, self.gathered(e, fill))};")
        self.indent -= 1
        self.emit("}")
        return self.as_value(Value(vector, t), e.dtype)

    def gathered(self, e: Load, fill: Value | None) -> str:
        """The name of an array with the elements of a vector, taken one by one."""
        assert self.lanes is not None
        lanes = self.lanes
        array, l = self.names.temp("lane"), self.names.temp("l")
        var = IVar(l, lanes.width)
        self.names.vars[var] = l
        inside = {lanes.var: index.add(lanes.at, index.of(var))}
        at = index.substitute(index.linear_strides(e.index, e.buf.strides), inside)
        text = f"{self.buffer(e.buf)}[{self.index(at)}]"
        if e.guards:
            assert fill is not None
            other = fill.wrapped
            if "x" in fill.type:
                spilled = self.names.temp("fill")
                self.emit(f"{memory(e.dtype)} {spilled}[{lanes.width}];")
                vector = fill.text if e.dtype != BOOL else self.call(
                    f"cvt_{fill.type.split('x')[0]}", lane("b8", lanes.width), fill.text
                )
                self.emit(self.call("store", lane(element(e.dtype), lanes.width), spilled, vector) + ";")
                other = f"{spilled}[{l}]"
            conditions = self.condition([g.substitute(inside) for g in e.guards])
            text = f"{conditions} ? {text} : {other}"
        self.emit(f"{memory(e.dtype)} {array}[{lanes.width}] = {{0}};")
        self.emit(f"for (int64_t {l} = 0; {l} < {lanes.count or lanes.width}; {l}++)")
        self.emit(f"  {array}[{l}] = {text};")
        return array

    def lanes_inside(self, guards: Sequence[Guard]) -> tuple[str, str] | None:
        """The conditions that all lanes of a vector lie within the guards, and that none does.

        The first and the last lane tell, if the guarded indices rise or fall along the vector; else None.
        """
        assert self.lanes is not None
        var, last = self.lanes.var, index.add(self.lanes.at, self.lanes.width - 1)
        every, none = [], []
        for g in guards:
            slope = g.index.affine_in(var)
            if slope == 0:
                text = self.guard(g)
                every.append(text)
                none.append(f"!({text})")
                continue
            if not isinstance(slope, int) or g.divisor is not None:
                return None
            assert g.size is not None
            ends = [index.substitute(g.index, {var: at}) for at in (self.lanes.at, last)]
            low, high = ends if slope > 0 else ends[::-1]
            size = self.extent(g.size)
            lowest, highest = self.paren(self.index(low)), self.paren(self.index(high))
            least = index.bounds(self.resolve(low))
            if least is None or not isinstance(least[0], int) or least[0] < 0:
                every.append(f"{lowest} >= 0")
                none.append(f"{highest} < 0")
            every.append(f"{highest} < {size}")
            none.append(f"{lowest} >= {size}")
        return " && ".join(every), " || ".join(none)

    def index_value(self, e: IndexValue, varies: bool) -> Value:
        scalar = element(e.dtype)
        if not varies:
            text = self.index(e.index)
            if e.dtype.name == "int64":
                return Value(text, scalar, text.isalnum())
            return Value(f"({memory(e.dtype)})({text})", scalar)
        assert self.lanes is not None
        lanes = self.lanes
        t = lane(scalar, lanes.width)
        stride = e.index.affine_in(lanes.var)
        if stride == 1:
            base = self.index(index.substitute(e.index, {lanes.var: lanes.at}))
            ramp = lane("i64" if scalar in ("i64", "f64") else "i32", lanes.width)
            counted = self.call("add", ramp, self.call("splat", ramp, f"({memory_of(ramp)})({base})"),
                                self.call("iota", ramp))
            if ramp == t:
                return Value(counted, t)
            return Value(self.call(f"cvt_{ramp.split('x')[0]}", t, counted), t)
        pattern = self.pattern(e.index) if scalar in ("i32", "i64") else None
        if pattern is not None:
            first = self.index(index.substitute(e.index, {lanes.var: lanes.at}))
            counted = self.call("load", t, self.places(pattern, t))
            if first == "0":
                return Value(counted, t)
            base = self.call("splat", t, f"({memory(e.dtype)})({first})")
            return Value(self.call("add", t, base, counted), t)
        array, l = self.names.temp("lane"), self.names.temp("l")
        var = IVar(l, lanes.width)
        self.names.vars[var] = l
        at = index.substitute(e.index, {lanes.var: index.add(lanes.at, index.of(var))})
        self.emit(f"{memory(e.dtype)} {array}[{lanes.width}];")
        head = f"for (int64_t {l} = 0; {l} < {lanes.width}; {l}++)"
        self.emit(f"{head} {array}[{l}] = ({memory(e.dtype)})({self.index(at)});")
        return Value(self.call("load", t, array), t)

    def guarded(self, e: Guarded, memo: dict[int, Value], varies: bool) -> Value:
        value, fill = memo[id(e.expr)], memo[id(e.fill)]
        var = self.lanes.var if self.lanes is not None else None
        if not varies:
            return Value(f"{self.condition(e.guards)} ? {value.wrapped} : {fill.wrapped}", value.type, False)
        assert self.lanes is not None and var is not None
        a, b = self.splat(value, e.dtype), self.splat(fill, e.dtype)
        if e.dtype == BOOL:
            a, b = self.to_mask(a, "m32"), self.to_mask(b, "m32")
        if not any(var in g.index.vars() for g in e.guards):
            return Value(f"{self.condition(e.guards)} ? {a.wrapped} : {b.wrapped}", a.type, False)
        sides = self.lanes_inside(e.guards)
        if sides is None:
            return self.choose(self.mask(e.guards, e.dtype), a, b, e.dtype)
        a, b = (v if _name(v) else self.name(v, "side") for v in (a, b))
        vector = self.names.temp("x")
        self.emit(f"{self.ctype(a.type)} {vector};")
        self.emit(f"if ({sides[0]}) {vector} = {a.text};")
        self.emit(f"else if ({sides[1]}) {vector} = {b.text};")
        self.emit("else {")
        self.indent += 1
        self.emit(f"{vector} = {self.choose(self.mask(e.guards, e.dtype), a, b, e.dtype).text};")
        self.indent -= 1
        self.emit("}")
        return Value(vector, a.type)

    def mask(self, guards: Sequence[Guard], dtype: DType) -> Value:
        """Which lanes lie within the guards, as a mask for vectors of a dtype."""
        assert self.lanes is not None
        array, l = self.names.temp("lane"), self.names.temp("l")
        var = IVar(l, self.lanes.width)
        self.names.vars[var] = l
        inside = {self.lanes.var: index.add(self.lanes.at, index.of(var))}
        self.emit(f"uint8_t {array}[{self.lanes.width}];")
        conditions = self.condition([g.substitute(inside) for g in guards])
        self.emit(f"for (int64_t {l} = 0; {l} < {self.lanes.width}; {l}++) {array}[{l}] = {conditions};")
        t = lane("m32" if dtype == BOOL else mask_of(dtype), self.lanes.width)
        return Value(self.call("cvt_b8", t, self.call("load", lane("b8", self.lanes.width), array)), t)

    def choose(self, m: Value, a: Value, b: Value, dtype: DType) -> Value:
        if dtype == BOOL:
            t = a.type
            m, b = self.to_mask(m, t.split("x")[0]), self.to_mask(b, t.split("x")[0])
            if not _name(m):
                m = self.name(m, "mask")
            yes = self.call("and", t, m.text, a.text)
            no = self.call("and", t, self.call("not", t, m.text), b.text)
            return Value(self.call("or", t, yes, no), t)
        m = self.to_mask(m, mask_of(dtype))
        return Value(self.call("select", a.type, m.text, a.text, b.text), a.type)

    def across(self, e: Across) -> Value:
        lanes, copies = self.acc_lanes[e.buf]
        t = lane(element(e.buf.dtype), lanes)
        names = [self.registers[(e.buf, (), c)] for c in range(copies)]
        if e.positions is not None:
            return Value(self.call("hargmax", t, names[0], self.registers[(e.positions, (), 0)]), "i64")
        function = "add" if e.combine in ("add", "fma") else e.combine
        while len(names) > 1:
            names = [self.call(function, t, names[k], names[k + 1]) for k in range(0, len(names), 2)]
        scalar = element(e.dtype)
        return Value(self.call({"add": "hsum", "mul": "hprod", "max": "hmax"}[function], t, names[0]), scalar)

    def register(self, buf: Buf, at: tuple[Index, ...]) -> Value:
        copy = self.lanes.copy if self.lanes is not None and buf.storage == "lanes" else 0
        key = tuple(self._register_index(buf, at))
        width = self.acc_lanes[buf][0] if buf in self.acc_lanes else 1
        t = lane("m32" if buf.dtype == BOOL else element(buf.dtype), width)
        return Value(self.registers[(buf, key, copy)], t)

    def _register_index(self, buf: Buf, at: tuple[Index, ...]) -> list[int]:
        """Constant subscripts: the last one counts vectors when the buffer holds lanes."""
        numbers = []
        for k, i in enumerate(at):
            if self.lanes is not None:
                i = index.substitute(i, {self.lanes.var: self.lanes.at})
            found = self.resolve(i)
            value = found.const
            assert isinstance(value, int) and not found.terms, (buf.name, i)
            last = k == len(at) - 1 and self.lanes is not None
            numbers.append(value // self.lanes.width if last and self.lanes is not None else value)
        return numbers

    def decided(self, e: Op, memo: dict[int, Value]) -> tuple[str, str, str, str] | None:
        """A choice by one comparison of the same type, as a single function: its name, type and the operands."""
        condition = e.args[0]
        if e.dtype == BOOL or not isinstance(condition, Op) or condition.name not in ("lt", "le", "eq", "ne"):
            return None
        if condition.args[0].dtype != e.dtype or e.dtype.itemsize < 4:
            return None
        assert self.lanes is not None
        a, b = (self.splat(memo[id(x)], e.dtype).text for x in condition.args)
        return f"select_{condition.name}", lane(element(e.dtype), self.lanes.width), a, b

    def operation(self, e: Op, args: list[Value], varies: bool, memo: dict[int, Value]) -> Value:
        if not varies:
            return self.scalar(e, args)
        assert self.lanes is not None
        width = self.lanes.width
        dtypes = [a.dtype for a in e.args]
        if e.name == "cvt":
            return self.convert(args[0], e.attr, e.dtype)
        if e.name == "check_index":
            return self.checked(e, args[0])
        vectors = [self.splat(v, d) for v, d in zip(args, dtypes, strict=True)]
        if e.name == "select":
            m, a, b = vectors
            decided = self.decided(e, memo)
            if decided is not None:
                return Value(self.call(*decided, a.text, b.text), a.type)
            if e.dtype == BOOL:
                a = self.to_mask(a, "m32")
            return self.choose(m, a, b, e.dtype)
        if e.dtype == BOOL and dtypes[0] == BOOL:
            kinds = {v.type.split("x")[0] for v in vectors}
            kind = "m64" if kinds == {"m64"} else "m32"
            vectors = [self.to_mask(v, kind) for v in vectors]
            t = lane(kind, width)
            name = {"eq": "xor", "ne": "xor", "lt": "and", "le": "or"}.get(e.name, e.name)
            texts = [v.text for v in vectors]
            if e.name in ("lt", "le"):
                texts[0] = self.call("not", t, texts[0])
            text = self.call(name, t, *texts)
            return Value(self.call("not", t, text) if e.name == "eq" else text, t)
        operand = lane(element(dtypes[0]), width)
        text = self.call(e.name, operand, *(v.text for v in vectors))
        return Value(text, lane(mask_of(dtypes[0]), width) if e.dtype == BOOL else operand)

    def convert(self, v: Value, source: DType, to: DType) -> Value:
        assert self.lanes is not None
        width = self.lanes.width
        t = lane(element(to), width)
        v = self.splat(v, source)
        if source == to:
            return v
        if to == BOOL:
            s = lane(element(source), width)
            return Value(self.call("ne", s, v.text, self.call("splat", s, "0")), lane(mask_of(source), width))
        if source == BOOL:
            one = Value(self.call("splat", t, "1"), t)
            return self.choose(v, one, Value(self.call("splat", t, "0"), t), to)
        return Value(self.call(f"cvt_{element(source)}", t, v.text), t)

    def checked(self, e: Op, v: Value) -> Value:
        """Indices are checked one by one: a check may fail the call."""
        assert self.lanes is not None
        width = self.lanes.width
        source = lane(element(e.args[0].dtype), width)
        given, array, l = self.names.temp("given"), self.names.temp("lane"), self.names.temp("l")
        vector = self.splat(v, e.args[0].dtype)
        self.emit(f"{memory(e.args[0].dtype)} {given}[{width}];")
        self.emit(f"int64_t {array}[{width}] = {{0}};")
        self.emit(self.call("store", source, given, vector.text) + ";")
        self.emit(f"for (int64_t {l} = 0; {l} < {self.lanes.count or width}; {l}++)")
        self.emit(f"  {array}[{l}] = {self.check_call(e, f'{given}[{l}]')};")
        t = lane("i64", width)
        return Value(self.call("load", t, array), t)

    def check_call(self, e: Op, text: str) -> str:
        return f"adjoint_index(context, {text}, {self.extent(e.attr['extent'])}, {self.sites[e.attr]})"

    def scalar(self, e: Op, args: list[Value]) -> Value:
        t = element(e.dtype) if e.dtype != BOOL else "m32"
        name = e.name
        kind = e.args[0].dtype if e.args else e.dtype
        if name == "cvt":
            source: DType = e.attr
            if e.dtype == BOOL:
                return Value(f"{args[0].wrapped} != 0", t, False)
            if source.kind == "f" and e.dtype.kind in "iu":
                return Value(self.call(f"cvt_{element(source)}", t, args[0].text), t)
            return Value(f"({memory(e.dtype)}){args[0].wrapped}", t, False)
        if name == "check_index":
            return Value(self.check_call(e, args[0].text), "i64")
        if name == "select":
            c, a, b = args
            return Value(f"{c.wrapped} ? {a.wrapped} : {b.wrapped}", t, False)
        if name in _OPERATORS:
            return Value(f"{args[0].wrapped} {_OPERATORS[name]} {args[1].wrapped}", t, False)
        if name in _LOGIC and kind == BOOL:
            return Value(f"{args[0].wrapped} {_LOGIC[name]} {args[1].wrapped}", t, False)
        if name == "not" and kind == BOOL:
            return Value(f"!{args[0].wrapped}", t, False)
        if name in _FLOAT_OPERATORS and kind.kind == "f":
            return Value(f"{args[0].wrapped} {_FLOAT_OPERATORS[name]} {args[1].wrapped}", t, False)
        if name == "neg" and kind.kind == "f":
            return Value(f"-{args[0].wrapped}", t, False)
        return Value(self.call(name, element(kind), *(a.text for a in args)), t)


def _within_share(at: Index, share: int) -> tuple[int, int] | None:
    """Bounds of a place from the begin of the part of an array that it lies in, all parts being of this size."""
    steps = [c for _, c in at.terms]
    if not share or not isinstance(at.const, int) or not all(isinstance(c, int) for c in steps):
        return None
    step = gcd(share, *steps)
    return at.const % step, share - step + at.const % step


def memory_of(lane_name: str) -> str:
    return {"i32": "int32_t", "i64": "int64_t"}[lane_name.split("x")[0]]


def _name(v: Value) -> bool:
    """Whether the text is an identifier or a number: nothing to be gained by naming it."""
    return v.text.replace("_", "").replace("$", "").isalnum()


def _stem(e: Expr) -> str:
    if isinstance(e, Op):
        return e.name
    if isinstance(e, Load):
        return "x"
    return "index" if isinstance(e, IndexValue) else "v"
