"""What is installed: names, contents, the command, and how long an import takes."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import adjoint as ad
from adjoint import api, pipeline, version

ROOT = Path(__file__).parent.parent


def test_one_version() -> None:
    assert ad.__version__ == version.VERSION == pipeline.VERSION
    assert importlib.metadata.version("adjoint") == version.VERSION
    assert not hasattr(api, "VERSION")


def test_importing_loads_no_templates_and_no_binding() -> None:
    code = "import sys, adjoint; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    for name in ("jinja2", "cffi", "_cffi_backend", "adjoint.api", "adjoint.lower", "adjoint.codegen"):
        assert name not in loaded


def test_every_public_name_exists() -> None:
    assert sorted(ad.__all__) == sorted(set(ad.__all__))
    for name in ad.__all__:
        assert getattr(ad, name) is not None or name == "newaxis"
    with pytest.raises(AttributeError):
        ad.no_such_name  # noqa: B018


def test_the_command_is_installed() -> None:
    (entry,) = [e for e in importlib.metadata.entry_points(group="console_scripts") if e.name == "adjoint"]
    assert entry.value == "adjoint.cli:main"
    assert callable(entry.load())


def test_the_wheel(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="building a wheel here needs setuptools 77")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("compiler", "runtime", "templates"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    # Nothing is called `compiler` or `runtime` to Python: all lies below the one package.
    assert {name.partition("/")[0] for name in names} == {"adjoint", f"adjoint-{version.VERSION}.dist-info"}
    packages = {"compiler": "adjoint", "runtime": "adjoint/runtime", "templates": "adjoint/templates"}
    for folder, package in packages.items():
        for path in (source / folder).rglob("*"):
            if path.is_file():
                assert f"{package}/{path.relative_to(source / folder).as_posix()}" in names


def test_the_example_of_the_readme_is_an_example() -> None:
    readme = (ROOT / "README.md").read_text()
    block = readme.partition("```python\n")[2].partition("```")[0]
    assert (ROOT / "examples" / "linear_regression.py").read_text().endswith(block)
