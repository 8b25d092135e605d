from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adjoint.artifact import CheckInfo, DimSpec, KernelInfo, Unit
from adjoint.errors import CompileError
from adjoint.runtime.binding import NativeLibrary
from adjoint.runtime.build import build_library
from adjoint.runtime.cache import Cache, cache_root
from adjoint.runtime.serial import artifact_from_json, artifact_to_json
from adjoint.runtime.target import TARGETS

from .handmade import ADD_TEXT, add_function, artifact, param

PLAIN = TARGETS["generic"]


@pytest.fixture
def cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path / "cold"))
    return Cache()


def units(count: int, seed: str) -> list[Unit]:
    return [Unit(f"u{i}", f"int {seed}{i}(void);\nint {seed}{i}(void) {{ return {i}; }}\n") for i in range(count)]


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path / "a"))
    assert Cache().root == tmp_path / "a"
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path / "b"))
    assert Cache().root == tmp_path / "b"
    monkeypatch.delenv("ADJOINT_CACHE_DIR")
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_root() == tmp_path / "xdg" / "adjoint"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert cache_root() == Path.home() / ".cache" / "adjoint"


def test_private_and_repaired(tmp_path: Path) -> None:
    root = tmp_path / "loose"
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    Cache(root)
    assert root.stat().st_mode & 0o777 == 0o700
    assert Cache(tmp_path / "new").root.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    os.chown(root, 12345, -1)
    with pytest.raises(CompileError, match="belongs to user 12345"):
        Cache(root)


def test_a_root_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompileError, match="cannot use the cache folder"):
        Cache(tmp_path / "file")


def test_graph_records(cold: Cache) -> None:
    assert cold.get_graph("k1") is None
    cold.put_graph("k1", b"\x00payload\n")
    assert cold.get_graph("k1") == b"\x00payload\n"
    path = cold.root / "graphs" / "k1"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert cold.get_graph("k1") is None and not path.exists()
    for damaged in (b"", b"\xff\xfe", b"short"):
        path.write_bytes(damaged)
        assert cold.get_graph("k1") is None
    with pytest.raises(ValueError, match="cache key"):
        cold.get_graph("../escape")


def test_units_are_compiled_once(cold: Cache) -> None:
    several = units(5, "f")
    assert build_library(several, PLAIN).compiled == 5
    assert build_library(several, PLAIN).compiled == 0
    changed = [*several[:4], Unit("u4", several[4].text.replace("return 4", "return 44"))]
    assert build_library(changed, PLAIN).compiled == 1
    assert not list((cold.root / "tmp").iterdir())


def test_flags_are_part_of_the_key(cold: Cache) -> None:
    first = build_library(units(1, "f"), PLAIN)
    assert build_library(units(1, "f"), PLAIN, extra=("-DX",)).compiled == 1
    assert build_library(units(1, "f"), PLAIN) == first.__class__(first.name, first.path, 0)


@pytest.mark.parametrize("count", [1, 3])
def test_damage_is_noticed_and_rebuilt(cold: Cache, count: int) -> None:
    several = units(count, "g")
    path = build_library(several, PLAIN).path
    good = path.read_bytes()
    path.chmod(0o700)
    path.write_bytes(good[: len(good) // 2])
    again = build_library(several, PLAIN)
    assert again.path.read_bytes()[:4] == good[:4] and NativeLibrary(again.path)
    for record in (cold.root / "units").iterdir():
        record.write_bytes(b"garbage")
    assert build_library(several, PLAIN).compiled == count


def test_damaged_objects_are_compiled_again(cold: Cache) -> None:
    several = units(3, "h")
    build_library(several, PLAIN)
    for blob in (cold.root / "blobs").iterdir():
        blob.write_bytes(b"")
    assert build_library(several, PLAIN).compiled == 3


def test_loaded_functions_survive_deletion(cold: Cache) -> None:
    f = add_function()
    x = np.ones(3, np.float32)
    cold.clear()
    np.testing.assert_array_equal(f(x, x), x + x)
    cold.root.rmdir()
    np.testing.assert_array_equal(add_function()(x, x), x + x)


def test_blob_names_are_checked(cold: Cache) -> None:
    for name in ("../x.so", "x", "a" * 64, "/" * 64 + ".so", "a" * 64 + "./x"):
        assert cold.blob(name) is None


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from handmade import add_function
from adjoint.runtime.build import build_library
from adjoint.runtime.target import TARGETS
from adjoint.artifact import Unit
units = [Unit(f"u{i}", f"int q{i}(void);\\nint q{i}(void) {{ return {i}; }}\\n") for i in range(4)]
for _ in range(3):
    build_library(units, TARGETS["generic"])
x = np.arange(5, dtype=np.float32)
assert (add_function()(x, x) == 2 * x).all()
print("fine")
"""


def test_many_processes_cold_at_once(cold: Cache) -> None:
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert out == "fine\n", err
        assert err == ""
    assert not list((cold.root / "tmp").iterdir())


def test_warm_processes_start_no_compiler_and_no_parser(cold: Cache, tmp_path: Path) -> None:
    add_function()
    program = CHILD.replace('print("fine")', 'print(sorted({"pycparser", "cffi"} & set(sys.modules)))')
    program = program.replace("import sys\n", "import sys, subprocess\n", 1)
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    subprocess.run(command, check=True, capture_output=True)
    guard = "subprocess.Popen = None\nsubprocess.run = None\n"
    command[2] = program.replace("import sys, subprocess\n", "import sys, subprocess\n" + guard, 1)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_artifact_survives_json() -> None:
    made = artifact(
        "add",
        ADD_TEXT,
        [param("x", "input", "float32", ["n", 3])],
        dims=[DimSpec("n", 0, 9)],
        kernels=[KernelInfo("k", "a + b", (1, 2), 3, 4)],
        checks=[CheckInfo(1, "message", 2)],
    )
    data = artifact_to_json(made, "name.so")
    assert artifact_from_json(data) == (made, "name.so")
    assert artifact_to_json(made, "name.so") == data
    with pytest.raises(ValueError, match="of this version"):
        artifact_from_json(b'{"artifact": {}}')
    with pytest.raises(ValueError, match="Expecting"):
        artifact_from_json(b"not json")


def test_sizes_and_sweep(cold: Cache) -> None:
    cold.put_graph("k", b"12")
    assert cold.sizes()["graphs"] == (1, 67)
    left = cold.root / "tmp" / "work-dead"
    left.mkdir()
    assert cold.sweep() == 0
    os.utime(left, (0, 0))
    with cold.workdir() as mine:
        assert not left.exists() and mine.exists()
    assert cold.sweep() == 0
