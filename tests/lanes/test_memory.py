"""Loads, stores and horizontal operations of the lane library, and the text of the prelude."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lanework import CLANG, DTYPES, GCC, TARGETS, V4, Array, bits, build, wide

from adjoint.codegen.prelude import parse, prelude

pytestmark = pytest.mark.skipif(GCC is None and CLANG is None, reason="no C compiler")

MEMORY = """
void k_part(const @P@ *p, @P@ *o, int64_t n);
void k_part(const @P@ *p, @P@ *o, int64_t n) { @T@_store_n(o, @T@_load_n(p, n), n); }
void k_fill(const @P@ *p, @P@ *o, int64_t n);
void k_fill(const @P@ *p, @P@ *o, int64_t n) { @T@_store(o, @T@_load_n(p, n)); }
void k_strided(const @P@ *p, @P@ *o, int64_t n);
void k_strided(const @P@ *p, @P@ *o, int64_t n) { @T@_store_s(o, @T@_load_sn(p, 3, n), 2, n); }
void k_spread(const @P@ *p, @P@ *o, int64_t n);
void k_spread(const @P@ *p, @P@ *o, int64_t n) { (void)n; @T@_store(o, @T@_load_s(p, 3)); }
void k_lookup(const @P@ *p, @P@ *o, int64_t n);
void k_lookup(const @P@ *p, @P@ *o, int64_t n) {
  @I@ at = @I@_mul(@I@_iota(), @I@_splat(2));
  @T@_store(o, @T@_lookup_i64(p, at, n));
}
void k_first(const @P@ *p, @P@ *o, int64_t n);
void k_first(const @P@ *p, @P@ *o, int64_t n) { @T@_store(o, @T@_select(@M@_first_n(n), @T@_load(p), @T@_splat(9))); }
"""


@pytest.mark.parametrize("path", ["gnu", "plain"])
@pytest.mark.parametrize("element", ["f32", "f64", "i32", "i64", "u8"])
def test_memory(element: str, path: str, tmp_path: Path) -> None:
    """Partial and strided access touch exactly their lanes: the arrays end where the last lane does."""
    target = TARGETS[-1]
    t = parse(wide(element, target))
    i, m = t.of("i64"), t.mask
    needs = [
        (f, t.name)
        for f in ("load", "store", "load_n", "store_n", "load_s", "load_sn", "store_s", "lookup_i64", "splat", "select")
    ]
    needs += [("mul", i.name), ("iota", i.name), ("splat", i.name), ("first_n", m.name)]
    text = prelude(needs, target) + MEMORY.replace("@P@", t.memory).replace("@T@", t.name)
    text = text.replace("@I@", i.name).replace("@M@", m.name)
    more = ["-fsanitize=undefined", "-fno-sanitize-recover=all"] if path == "plain" else []
    library = build(
        text,
        target,
        tmp_path,
        "memory",
        str(GCC or CLANG),
        *more,
        *(["-DADJOINT_PLAIN_LANES"] if path == "plain" else []),
    )
    lanes, dtype = t.lanes, DTYPES[element]
    source = np.arange(1, 4 * lanes + 1, dtype=dtype)

    def run(name: str, p: Array, size: int, n: int) -> Array:
        out = np.full(size + 1, 7, dtype)
        getattr(library, name)(ctypes.c_void_p(p.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(n))
        assert out[-1] == 7
        return out[:-1]

    for n in range(-1, lanes + 2):
        k = min(max(n, 0), lanes)
        kept = np.where(np.arange(lanes) < k, 1, 0)
        assert np.array_equal(run("k_part", source, k, n)[:k], source[:k])
        assert np.array_equal(run("k_fill", source, lanes, n), source[:lanes] * kept)
        strided = run("k_strided", source, 2 * lanes, n)
        assert np.array_equal(strided[0 : 2 * k : 2], source[: 3 * k : 3])
        assert (strided[1::2] == 7).all() and (strided[2 * k :] == 7).all()
        assert np.array_equal(run("k_lookup", source, lanes, n), source[: 2 * lanes : 2] * kept)
        assert np.array_equal(run("k_first", source, lanes, n), np.where(kept, source[:lanes], 9))
    assert np.array_equal(run("k_spread", source, lanes, 0), source[: 3 * lanes : 3])


def test_horizontal(tmp_path: Path) -> None:
    """Sums follow the halving tree, extremes propagate NaN, and no path differs."""
    target = TARGETS[-1]
    text, needs = "", list[tuple[str, str]]()
    for element in ("f32", "f64", "i32", "i64"):
        t = parse(wide(element, target))
        needs += [("load", t.name), ("load", t.of("i64").name), ("iota", t.of("i64").name)]
        for f in ("hsum", "hprod", "hmax", "hmin", "hargmax", "hargmin"):
            needs.append((f, t.name))
            more = f", {t.of('i64')}_iota()" if "arg" in f else ""
            result = "int64_t" if "arg" in f else t.memory
            head = f"void k_{element}_{f}(const {t.memory} *p, {result} *o)"
            text += f"{head};\n{head} {{ *o = {t}_{f}({t}_load(p){more}); }}\n"
        if element[0] == "f":
            needs += [("any", t.mask.name), ("all", t.mask.name), ("ne", t.name)]
            for f in ("any", "all"):
                head = f"void k_{element}_{f}(const {t.memory} *p, int64_t *o)"
                text += f"{head};\n{head} {{ *o = {t.mask}_{f}({t}_ne({t}_load(p), {t}_load(p))); }}\n"
    text = prelude(needs, target) + text
    rng = np.random.default_rng(1)
    for compiler in filter(None, (GCC, CLANG)):
        for path in ("gnu", "plain"):
            library = build(
                text,
                target,
                tmp_path,
                f"h-{Path(compiler).name}-{path}",
                compiler,
                *(["-DADJOINT_PLAIN_LANES"] if path == "plain" else []),
            )
            for element in ("f32", "f64", "i32", "i64"):
                t = parse(wide(element, target))
                for trial in range(40):
                    a = rng.normal(0, 3, t.lanes).astype(DTYPES[element])
                    if trial % 4 == 1 and element[0] == "f":
                        a[rng.integers(0, t.lanes, 1 + trial % 3)] = np.nan

                    def got(f: str, like: Any, a: Array = a, element: str = element, library: Any = library) -> Any:
                        out = np.zeros(1, like)
                        getattr(library, f"k_{element}_{f}")(
                            ctypes.c_void_p(a.ctypes.data), ctypes.c_void_p(out.ctypes.data)
                        )
                        return out

                    def tree(op: Any, a: Array = a) -> Array:
                        while len(a) > 1:
                            a = op(a[: len(a) // 2], a[len(a) // 2 :])
                        return a

                    for f, op in (("hsum", np.add), ("hprod", np.multiply), ("hmax", np.maximum), ("hmin", np.minimum)):
                        assert np.array_equal(bits(got(f, a.dtype)), bits(tree(op))), (f, a)
                    assert got("hargmax", "int64")[0] == np.argmax(a)
                    assert got("hargmin", "int64")[0] == np.argmin(a)
                    if element[0] == "f":
                        assert got("any", "int64")[0] == np.isnan(a).any()
                        assert got("all", "int64")[0] == np.isnan(a).all()


def test_prelude_is_deterministic_and_minimal() -> None:
    needs = [("exp", "f32x16"), ("fma", "f32x16"), ("load", "f32x16")]
    text = prelude(needs, V4)
    assert text == prelude(reversed(needs), V4)
    assert "tanh" not in text and "f64" not in text and "f32x16_store" not in text
    assert prelude([("fma", "f32")], V4).count("INLINE f32") == 1
    with pytest.raises(ValueError, match="nonsense"):
        prelude([("nonsense", "f32x16")], V4)
    with pytest.raises(ValueError, match="and"):
        prelude([("and", "f32")], V4)
    with pytest.raises(ValueError, match="f32x5"):
        prelude([("add", "f32x5")], V4)


@pytest.mark.parametrize("element", ["f32", "f64", "i32", "i64"])
def test_pick(element: str, tmp_path: Path) -> None:
    """Lanes of one vector, and of two side by side, in any order, on every path of every compiler."""
    target = TARGETS[-1]
    t = parse(wide(element, target))
    at = f"const {t.signed.memory} *at"
    one = f"void k_one(const {t.memory} *p, {at}, {t.memory} *o)"
    two = one.replace("k_one", "k_two")
    text = prelude([(f, t.name) for f in ("load", "store", "pick", "pick2")], target)
    text += f"{one};\n{one} {{ {t}_store(o, {t}_pick({t}_load(p), at)); }}\n"
    text += f"{two};\n{two} {{ {t}_store(o, {t}_pick2({t}_load(p), {t}_load(p + {t.lanes}), at)); }}\n"
    dtype, rng = DTYPES[element], np.random.default_rng(3)
    source = np.arange(1, 2 * t.lanes + 1, dtype=dtype)
    for compiler in filter(None, (GCC, CLANG)):
        for path in ("gnu", "plain"):
            name = f"pick-{element}-{Path(compiler).name}-{path}"
            library = build(text, target, tmp_path, name, compiler,
                            *(["-DADJOINT_PLAIN_LANES"] if path == "plain" else []))
            for function, count in (("k_one", t.lanes), ("k_two", 2 * t.lanes)):
                places = rng.integers(0, count, t.lanes).astype(DTYPES[t.signed.element])
                out = np.zeros(t.lanes, dtype)
                getattr(library, function)(*(ctypes.c_void_p(a.ctypes.data) for a in (source, places, out)))
                assert np.array_equal(out, source[places])
