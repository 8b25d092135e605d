from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from adjoint.artifact import Unit
from adjoint.errors import CompileError
from adjoint.runtime import toolchain
from adjoint.runtime.build import build_library
from adjoint.runtime.cache import Cache
from adjoint.runtime.target import TARGETS, missing_features, native_target, resolve_target
from adjoint.runtime.toolchain import find_toolchain

PLAIN = TARGETS["generic"]
GOOD = Unit("good", "int one(void);\nint one(void) { return 1; }\n")


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_finds_a_compiler_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    found = find_toolchain()
    assert found.origin == "PATH" and found.kind in ("gcc", "clang") and found.version
    assert find_toolchain() is found


def test_cc_may_hold_arguments_and_they_change_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -DTHING=1")
    found = find_toolchain()
    assert found.origin == "CC" and found.command[1:] == ("-DTHING=1",)
    monkeypatch.setenv("CC", "cc -DTHING=2")
    assert find_toolchain().identity != found.identity


@pytest.mark.parametrize(
    ("cc", "expected"),
    [
        ("no-such-compiler -O3", "no program 'no-such-compiler'"),
        ("false", "failed on --version with status 1"),
        ("silent", "printed nothing on --version"),
        ("cc 'unbalanced", "cannot be split"),
    ],
)
def test_a_broken_cc_is_told_and_not_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cc: str, expected: str
) -> None:
    script(tmp_path / "silent", "exit 0\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CC", cc)
    with pytest.raises(CompileError, match=expected) as caught:
        find_toolchain()
    assert "CC=" in str(caught.value)


def test_no_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompileError, match="no C compiler found") as caught:
        find_toolchain()
    assert "pip install ziglang" in str(caught.value) and 'backend="numpy"' in str(caught.value)


def test_ziglang_is_the_last_resort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "ziglang"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import sys\nprint('clang version 19', *sys.argv[1:])\n")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    found = find_toolchain()
    assert (found.kind, found.origin) == ("zig", "ziglang")
    assert found.command == (sys.executable, "-m", "ziglang", "cc")
    assert found.compile_flags(PLAIN)[-2:] == ("-fno-sanitize=undefined", "-mcpu=baseline")
    assert found.compile_flags(TARGETS["x86-64-v4"])[-2:] == ("-mcpu=x86_64_v4", "-mprefer-vector-width=512")


def test_a_replaced_compiler_has_another_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cc = script(tmp_path / "mycc", "echo mycc version 1\n")
    monkeypatch.setenv("CC", str(cc))
    first = find_toolchain()
    script(cc, "echo mycc version 2.0\n")
    toolchain._found.clear()  # another process would look again
    assert find_toolchain().identity != first.identity


def test_flags_hold_the_contract() -> None:
    flags = find_toolchain().compile_flags(TARGETS["x86-64-v4"])
    for flag in ("-std=c99", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-march=x86-64-v4"):
        assert flag in flags


def test_a_compile_error_shows_the_line_and_keeps_the_file() -> None:
    bad = Unit('na"me/../x', "int f(void);\nint f(void) {\n  return undeclared_thing;\n}\n")
    with pytest.raises(CompileError) as caught:
        build_library([bad], PLAIN)
    text = str(caught.value)
    assert "return undeclared_thing;" in text and "line 3: error:" in text and ">     3 |" in text
    kept = next(Path(word) for word in text.split() if word.endswith(".c") and "failed" in word)
    assert kept.read_text() == bad.text and kept.parent == Cache().root / "failed"


def test_a_link_error_is_reported() -> None:
    units = [GOOD, Unit("again", GOOD.text + "int other(void);\nint other(void) { return 2; }\n")]
    with pytest.raises(CompileError, match="while linking"):
        build_library(units, PLAIN)


def test_an_error_in_one_of_several_units_is_reported() -> None:
    with pytest.raises(CompileError, match='on unit "bad"'):
        build_library([GOOD, Unit("bad", "int x = ;\n"), Unit("c", "int c(void);\nint c(void) { return 3; }\n")], PLAIN)


def test_a_compiler_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cc = script(tmp_path / "dies", 'case "$1" in --version) echo dies 1;; *) kill -9 $$;; esac\n')
    monkeypatch.setenv("CC", str(cc))
    with pytest.raises(CompileError, match="killed by signal 9"):
        build_library([GOOD], PLAIN)


def test_targets() -> None:
    native = native_target()
    assert native.name in TARGETS and native.workers >= 1 and native.l2 >= native.l1 > 0
    assert not missing_features(native) and resolve_target() is native and resolve_target(PLAIN) is PLAIN
    v4 = resolve_target("x86-64-v4")
    assert v4.cflags == ("-march=x86-64-v4", "-mprefer-vector-width=512") and v4.fma and v4.vector_bytes == 64
    assert (PLAIN.vector_bytes, PLAIN.fma) == (16, False)
    with pytest.raises(CompileError, match="no target 'z80'"):
        resolve_target("z80")


@pytest.mark.parametrize("name", [native_target().name, "generic"])
def test_the_isa_macro_holds_under_the_target_flags(name: str) -> None:
    target = resolve_target(name)
    text = f"#if !({target.isa_macro})\n#error no\n#endif\nint one(void);\nint one(void) {{ return 1; }}\n"
    assert build_library([Unit("isa", text)], target).path.exists()
