"""Misuses of `ad.compile`, of `@ad.function`, of files of variables, of exports and of the command line."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from misuse import check_built, check_raises, misuse, table

import adjoint as ad
from adjoint import CompileError, DTypeError, ExecutionError, GraphError, ShapeError, SymbolicError
from adjoint.cli import main

x = ad.input("x", (3, 4))
other_x = ad.input("x", (3,))
v = ad.input("v", (4,))
n = ad.input("n", ("batch", 4))
longer = ad.input("longer", (ad.Dim("batch", min=3),))
spaced = ad.input("a b", (3,))
w = ad.variable(np.ones((4, 2), np.float32), name="w")
X, V, W = r'x = input "x" +float32\[3, 4\]', 'v = input "v"', r'w = variable "w" +float32\[4, 2\]'
ones = np.ones((3, 4), np.float32)

COMPILE = [
    misuse("input-twice", lambda: ad.compile([x, x], x), GraphError, 'function: input "x" is listed twice'),
    misuse("input-missing", lambda: ad.compile([x], x + v), GraphError, 'function: input "v" is needed but', V),
    misuse(
        "input-names-clash", lambda: ad.compile([x, other_x], x), GraphError, 'function: the name "x" is taken', X[4:]
    ),
    misuse("input-variable", lambda: ad.compile([w], w), GraphError, 'argument 1 of `inputs` .* got variable "w"', W),
    misuse("input-string", lambda: ad.compile(["x"], x), GraphError, "argument 1 of `inputs` .* got 'x'"),
    misuse("input-result", lambda: ad.compile([v, x * 2], x), GraphError, "argument 2 of `inputs` .* got multiply"),
    misuse("inputs-number", lambda: ad.compile(5, x), GraphError, "compile: inputs must be a list or tuple, got 5"),
    misuse("inputs-none", lambda: ad.compile(None, x), GraphError, "compile: inputs must be a list .* got None"),
    misuse("output-string", lambda: ad.compile([x], "a"), GraphError, "compile: outputs .* output 0 is 'a'"),
    misuse("output-none", lambda: ad.compile([x], {"a": [x, None]}), GraphError, "outputs .* output 1 is None"),
    misuse("output-set", lambda: ad.compile([x], {x}), GraphError, "compile: outputs are arrays, or lists"),
    misuse("output-function", lambda: ad.compile([x], abs), GraphError, "compile: outputs are arrays"),
    misuse("output-object", lambda: ad.compile([x], object()), DTypeError, "compile: <object .* is no array"),
    misuse("update-input", lambda: ad.compile([x], x, {x: x}), GraphError, 'key of `updates` .* got input "x"', X),
    misuse("update-name", lambda: ad.compile([x], x, {"w": w}), GraphError, "key of `updates` .* got 'w'"),
    misuse("update-shape", lambda: ad.compile([x], x, {w: x}), ShapeError, r'"w" .* float32\[3, 4\] for', W, X),
    misuse("update-dtype", lambda: ad.compile([x], x, {w: w.astype("float64")}), DTypeError, '"w" is float64', W),
    misuse("update-string", lambda: ad.compile([x], x, {w: "a"}), DTypeError, "compile: 'a' is no array"),
    misuse("updates-list", lambda: ad.compile([x], x, [w]), GraphError, "compile: updates must be a dict, .* got list"),
    misuse("name-words", lambda: ad.compile([x], x, name="a b"), GraphError, "compile: the name .* got 'a b'"),
    misuse("name-number", lambda: ad.compile([x], x, name=5), GraphError, "compile: the name .* got 5"),
    misuse("name-of-c", lambda: ad.compile([x], x, name="int"), GraphError, "compile: .* cannot be called 'int'"),
    misuse("threads-nought", lambda: ad.compile([x], x, threads=0), ShapeError, "compile: threads must be .* got 0"),
    misuse("threads-fraction", lambda: ad.compile([x], x, threads=1.5), ShapeError, "compile: threads .* got 1.5"),
    misuse("target", lambda: ad.compile([x], x, target="mmx"), CompileError, "compile: no target 'mmx'.* x86-64-v3"),
    misuse(
        "target-numpy",
        lambda: ad.compile([x], x, target="mmx", backend="numpy"),
        CompileError,
        "compile: no target 'mmx'",
    ),
    misuse("backend", lambda: ad.compile([x], x, backend="gpu"), CompileError, "compile: backend .* got 'gpu'"),
    misuse("options", lambda: ad.compile([x], x, options="fast"), GraphError, "compile: options must be .* got 'fast'"),
    misuse(
        "state-updates", lambda: ad.compile([x], x, state_updates="a"), GraphError, "compile: state_updates is True"
    ),
    misuse("dim-of-c", lambda: ad.compile([], ad.zeros("int")), ShapeError, "dimension cannot be called 'int'"),
    misuse("dim-twice", lambda: ad.compile([n, longer], n), ShapeError, "two dimensions .* are called 'batch'"),
    misuse("dim-unbound", lambda: ad.compile([x], ad.zeros("q")), GraphError, 'dimension "q" is not bound'),
    misuse(
        "dim-unbound-numpy",
        lambda: ad.compile([x], ad.zeros("q"), backend="numpy"),
        GraphError,
        'dimension "q" is not bound',
    ),
]


@ad.function(backend="numpy")
def product(a, b):
    return a @ b


@ad.function(backend="numpy", static=["power"])
def raised(a, power):
    return a**power


@ad.function(backend="gpu")
def nowhere(a):
    return a


FUNCTION = [
    misuse("function-number", lambda: ad.function(5), SymbolicError, "function: what is traced .* got 5"),
    misuse("function-static", lambda: ad.function(lambda a: a, static=["b"]), SymbolicError, "no parameter 'b'"),
    misuse(
        "function-static-number", lambda: ad.function(lambda a: a, static=5), SymbolicError, "static must be a list"
    ),
    misuse("function-missing", lambda: product(ones), SymbolicError, "product: missing a required argument: 'b'"),
    misuse("function-too-many", lambda: product(ones, ones, ones), SymbolicError, "product: too many positional"),
    misuse("function-name", lambda: product(ones, c=ones), SymbolicError, "product: missing .* 'b'"),
    misuse("function-object", lambda: product(ones, object()), DTypeError, "product: <object .* is no array"),
    misuse("function-complex", lambda: product(ones, ones * 1j), DTypeError, "product: .* complex64"),
    misuse(
        "function-unhashable", lambda: raised(ones, [2]), SymbolicError, "raised: static arguments", r"power = \[2\]"
    ),
    misuse("function-backend", lambda: nowhere(ones), CompileError, "nowhere: backend must be .* got 'gpu'"),
]


@table([*COMPILE, *FUNCTION])
def test_misuse(case):
    check_built(case)


def test_error_within_a_traced_function():
    """The line is that of the operation, not of the call."""
    case = misuse("inside", lambda: product(ones, ones), ShapeError, "matmul: inner dimensions differ")
    text, _ = check_raises(case)
    assert "raised by  return a @ b" in text


@functools.cache
def compiled():
    return ad.compile(x, x * 2, name="twofold", backend="numpy")


REPORTS = [
    misuse(
        "dump-stage", lambda _: compiled().dump("nonsense"), GraphError, "dump: .* 'nonsense'; the stages are graph"
    ),
    misuse("export-number", lambda _: compiled().export(5), GraphError, "export: the folder must be a path, got 5"),
    misuse("export-target", lambda path: compiled().export(path, target="mmx"), CompileError, "no target 'mmx'"),
    misuse("profile", lambda _: compiled().profile(), ExecutionError, "twofold: nothing was counted"),
    misuse("profile-repeat", lambda _: compiled().profile(ones, repeat=0), SymbolicError, "twofold: repeat .* got 0"),
    misuse("profile-numpy", lambda _: compiled().profile(ones), ExecutionError, "twofold does not run compiled code"),
    misuse("save-path", lambda _: ad.save(5, [w]), SymbolicError, "save: the first argument .* got 5"),
    misuse("save-variable", lambda path: ad.save(path / "f", w), SymbolicError, "save: a list of variables"),
    misuse("save-number", lambda path: ad.save(path / "f", 5), SymbolicError, "save: a list of variables .* got 5"),
    misuse("save-string", lambda path: ad.save(path / "f", ["a"]), SymbolicError, "save: only variables .* 'a'"),
    misuse(
        "save-input", lambda path: ad.save(path / "f", [x]), SymbolicError, 'only variables have a value; input "x"'
    ),
    misuse("save-twice", lambda path: ad.save(path / "f", [w, w]), GraphError, "save: the name 'w' is taken twice"),
    misuse("save-key", lambda path: ad.save(path / "f", {5: ones}), GraphError, "save: every variable needs a name"),
    misuse("save-objects", lambda path: ad.save(path / "f", {"a": object()}), DTypeError, "save: 'a' has dtype object"),
    misuse("load-path", lambda _: ad.load(5), SymbolicError, "load: the first argument .* got 5"),
    misuse("load-text", lambda _: ad.load(__file__), ExecutionError, "load: .*test_compiling.py is damaged"),
    misuse("load-one", lambda path: ad.load(path / "w", w), SymbolicError, "load: a list of variables"),
    misuse("load-names", lambda path: ad.load(path / "w", [named("q")]), GraphError, "load: .* lacks 'q'; no .* 'w'"),
    misuse("load-shape", lambda path: ad.load(path / "w", [named("w")]), ShapeError, r"load: .* float32\[1\]"),
    misuse("load-dtype", lambda path: ad.load(path / "w", [wide()]), DTypeError, r"load: .* 'w' is float32.* float64"),
]


def named(name):
    return ad.variable([1.0], name=name)


def wide():
    return ad.variable(np.zeros((4, 2)), name="w")


@table(REPORTS)
def test_reports_and_files(case, tmp_path):
    ad.save(tmp_path / "w", [w])
    check_raises(case, tmp_path)
    assert not [p.name for p in tmp_path.iterdir() if p.name != "w"], "a failure left a file behind"


MODEL = """
import adjoint as ad
x = ad.input("x", (3,))
step = ad.compile(x, x * 2, name="step", backend="numpy")
number = 3
def nothing(): return None
def fails(): return 1 / 0
def wrong(): return x @ ad.zeros(4)
"""


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["dump", "model.py"], 2, "'model.py' is not of the form FILE:NAME"),
        (["dump", "nofile.py:step"], 2, "there is no file nofile.py"),
        (["dump", "model.py:other"], 2, "model.py defines no 'other'; compiled functions there: step"),
        (["dump", "model.py:number"], 2, "number in model.py is of type int, not a compiled function"),
        (["dump", "model.py:nothing"], 2, "nothing() in model.py returned None"),
        (["dump", "model.py:fails"], 1, "ZeroDivisionError"),
        (["dump", "model.py:wrong"], 1, "ShapeError: matmul: inner dimensions differ: float32[3] @ float32[4]"),
        (["build", "model.py:step", "-o", "out", "--target", "mmx"], 1, "CompileError: no target 'mmx'"),
        (["build", "model.py:step", "-o", "model.py"], 1, "model.py"),
    ],
)
def test_command_line(arguments, status, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    assert main(arguments) == status
    error = capsys.readouterr().err
    assert error.startswith("adjoint: ")
    assert text in error


@pytest.mark.parametrize("arguments", [[], ["make"], ["dump"], ["dump", "a.py:f", "--stage", "x"], ["build", "a.py:f"]])
def test_command_line_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: adjoint" in capsys.readouterr().err
