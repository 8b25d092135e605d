from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adjoint.errors import DTypeError, ExecutionError, GraphError, ShapeError
from adjoint.runtime.variables_io import load, save

from .handmade import Storage


def test_save_and_load(tmp_path: Path) -> None:
    w, b = Storage(np.arange(6, dtype=np.float32).reshape(2, 3), "layer/w"), Storage(np.array(7), "file")
    path = tmp_path / "model.npz"
    save(path, [w, b])
    before = path.read_bytes()
    save(path, {"layer/w": w.value, "file": b.value})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    with np.load(path, allow_pickle=False) as plain:
        assert sorted(plain.files) == ["file", "layer/w"]
    w.value = np.zeros((2, 3), np.float32)
    held = w.array
    loaded = load(path, [w, b])
    assert held is w.array and loaded["file"] == 7
    np.testing.assert_array_equal(w.array, np.arange(6).reshape(2, 3))


def test_load_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save(path, {"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)})
    a = Storage(np.zeros(2, np.float32), "a")
    cases = [
        ([a], GraphError, "no variable is called 'b'"),
        ([a, Storage(np.zeros(3, np.float32), "c")], GraphError, "the file lacks 'c'; no variable is called 'b'"),
        ([a, Storage(np.zeros(4, np.float32), "b")], ShapeError, r"'b' is float32\[3\], the variable is float32\[4\]"),
        ([a, Storage(np.zeros(3), "b")], DTypeError, r"the variable is float64\[3\]"),
        ([a, a], GraphError, "'a' is taken twice"),
    ]
    for variables, error, words in cases:
        with pytest.raises(error, match=words):
            load(path, variables)
        assert a.array.tolist() == [0, 0]


def test_what_cannot_be_saved_or_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with pytest.raises(DTypeError, match="needs pickle"):
        save(path, {"a": np.array([object()])})
    with pytest.raises(GraphError, match="taken twice"):
        save(path, [Storage(1, "a"), Storage(2, "a")])
    with pytest.raises(GraphError, match="needs a name"):
        save(path, [Storage(1, "")])
    assert not list(tmp_path.iterdir())
    np.savez(path, a=np.array([object()]))
    with pytest.raises(ExecutionError, match="was not written by save"):
        load(tmp_path / "m.npz")
    path.write_bytes(b"PK garbage")
    with pytest.raises(ExecutionError, match="is damaged"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
