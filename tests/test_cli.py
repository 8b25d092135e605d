"""The `adjoint` command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adjoint.cli import STAGES, main
from adjoint.version import VERSION

MODEL = """
import adjoint as ad

print("building")
x = ad.input("x", (4, 3))
f = ad.compile(x, ad.exp(x).sum(axis=1), name="f")
number = 3

def make():
    return ad.compile(x, x * 2, name="g")

def wrong():
    return 3

def broken():
    return x @ x

def failing():
    raise KeyError("gone")

if __name__ == "__main__":
    raise SystemExit("run as a script")
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def test_build(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", f"{model}:f", "-o", str(tmp_path / "out"), "--target", "generic"]) == 0
    said = capsys.readouterr()
    assert [Path(line).name for line in said.out.splitlines()] == ["f.c", "f.h", "main.c", "Makefile"]
    assert "building" in said.err
    assert "for generic" in (tmp_path / "out" / "f.c").read_text()
    assert main(["build", f"{model}:make", "-o", str(tmp_path / "g")]) == 0
    assert (tmp_path / "g" / "g.c").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_dump(model: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", f"{model}:f", "--stage", stage]) == 0
    text = capsys.readouterr().out
    assert "building" not in text  # what the user's file prints is not part of the dump
    assert "x" in text and len(text.splitlines()) > 3


@pytest.mark.parametrize(
    ("reference", "status", "message"),
    [
        ("model.py", 2, "is not of the form FILE:NAME"),
        ("nowhere.py:f", 2, "there is no file nowhere.py"),
        ("{model}:g", 2, "defines no 'g'; compiled functions there: f"),
        ("{model}:number", 2, "number in {model} is of type int, not a compiled function"),
        ("{model}:wrong", 2, "returned of type int"),
        ("{model}:broken", 1, "ShapeError"),
        ("{model}:failing", 1, "KeyError: 'gone'"),
    ],
)
def test_errors(
    model: Path, reference: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dump", reference.format(model=model)]) == status
    said = capsys.readouterr().err
    assert message.format(model=model) in said
    assert "cli.py" not in said


def test_a_file_that_ends_the_program(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.write_text("import sys; sys.exit(3)")
    assert main(["dump", f"{model}:f"]) == 2
    assert "ended the program (status 3)" in capsys.readouterr().err


def test_unknown_target(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", f"{model}:f", "-o", str(tmp_path / "out"), "--target", "z80"]) == 1
    assert "no target 'z80'" in capsys.readouterr().err


def test_a_file_beside_the_model_can_be_imported(model: Path, tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("SIZE = 5\n")
    model.write_text("import adjoint as ad\nfrom beside_it import SIZE\nx = ad.input('x', (SIZE,))\n"
                     "f = ad.compile(x, x + 1)\n")
    command = [sys.executable, "-m", "adjoint.cli", "dump", f"{model}:f"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "x: float32[5]" in done.stdout


def test_doctor(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"adjoint   {VERSION}" in text
    assert "compiled and ran a function in" in text
    assert "float32" in text and "GFLOP/s in FMAs" in text and "GB/s" in text
    for label in ("target", "cache", "compiler", "peak", "bandwidth"):
        assert f"\n{label} " in text
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["doctor"]) == 1
    assert "CC='no-such-compiler'" in capsys.readouterr().out


def test_cache(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", f"{model}:f", "--stage", "c"]) == 0
    capsys.readouterr()
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("cache")
    assert lines[1].split()[:2] == ["graphs", "1"]
    assert main(["cache", "--clear"]) == 0
    assert "deleted" in capsys.readouterr().out
    assert main(["cache"]) == 0
    assert all(line.split()[1] == "0" for line in capsys.readouterr().out.splitlines()[1:])


def test_wrong_usage_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["fly"], ["build", "a.py:f"], ["dump", "a.py:f", "--stage", "nine"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert VERSION in capsys.readouterr().out
