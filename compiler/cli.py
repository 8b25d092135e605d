"""The `adjoint` command: ahead-of-time builds, dumps, and the state of the installation."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifact import STAGES
from .errors import AdjointError
from .version import VERSION

if TYPE_CHECKING:
    from .runtime.callable import CompiledFunction


class UsageError(AdjointError):
    """What the user typed does not lead to a function."""


class UserCodeError(AdjointError):
    """The user's file failed; the text is Python's account of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 for an error, 2 for wrong usage."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.run is _bench:
        options.rest = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(options.run(options))
    except AdjointError as error:
        known = isinstance(error, (UsageError, UserCodeError))
        print(f"adjoint: {'' if known else type(error).__name__ + ': '}{error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        print(f"adjoint: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adjoint", description="A compiler for automatic differentiation.")
    parser.add_argument("--version", action="version", version=f"adjoint {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    what = "NAME in FILE: a compiled function, or a function without arguments that returns one"
    build = command("build", _build, "write a function as C, with its header, a main program and a Makefile")
    build.add_argument("function", metavar="FILE:NAME", help=what)
    build.add_argument("-o", "--output", metavar="DIR", required=True, help="folder to write to")
    build.add_argument(
        "--target", help="instruction set: generic, x86-64, x86-64-v3, x86-64-v4, aarch64 or native (this machine); "
        "default: the one given to ad.compile, else one that most machines of this architecture have"
    )
    dump = command("dump", _dump, "print a stage of the compilation")
    dump.add_argument("function", metavar="FILE:NAME", help=what)
    dump.add_argument("--stage", choices=STAGES, default="graph", help="default: graph")
    command("doctor", _doctor, "say which compiler, target and cache are used, try them, and measure the machine")
    report = command("report", _report, "compile a function and say what was made, and how long each phase took")
    report.add_argument("function", metavar="FILE:NAME", help=what)
    # The benchmarks lie beside the package in a checkout, and say themselves what they take.
    bench = commands.add_parser("bench", help="time it, from a checkout, beside other tools", add_help=False)
    bench.set_defaults(run=_bench)
    cache = command("cache", _cache, "show what the cache holds")
    cache.add_argument("--clear", action="store_true", help="delete it all; loaded functions go on working")
    return parser


def find_function(reference: str) -> CompiledFunction:
    """The compiled function that FILE:NAME stands for. Raises UsageError if there is none."""
    from .runtime.callable import CompiledFunction

    file, colon, name = reference.rpartition(":")
    if not colon or not file or not name:
        raise UsageError(f"{reference!r} is not of the form FILE:NAME, such as model.py:step")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file {file}")
    found: Any = _execute(path)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"{file} defines no {name!r}{_choices(found)}") from None
    if not isinstance(found, CompiledFunction) and callable(found):
        made = _guarded(found, f"{name}() in {file}")
        if not isinstance(made, CompiledFunction):
            raise UsageError(f"{name}() in {file} returned {_kind(made)}, not a compiled function")
        return made
    if not isinstance(found, CompiledFunction):
        raise UsageError(f"{name} in {file} is {_kind(found)}, not a compiled function{_choices(found)}")
    return found


def _execute(path: Path) -> Any:
    """Runs a file as a module: what stands under `if __name__ == "__main__"` is left out."""
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else "_adjoint_user_file"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[name] = module  # pickles and dataclasses look there
    sys.path.insert(0, str(path.parent.resolve()))  # as for a script, so that its neighbours can be imported

    def run() -> None:
        exec(compile(path.read_bytes(), str(path.resolve()), "exec"), module.__dict__)

    _guarded(run, str(path))
    return module


def _guarded(call: Callable[[], Any], what: str) -> Any:
    """Calls the user's code; an error of it is shown as Python shows it, without the frames of this command.

    What it prints goes to stderr: stdout is for the command's own result.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return call()
    except AdjointError:
        raise
    except Exception as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        text = "".join(traceback.format_exception(type(error), error, frames))
        raise UserCodeError(f"{what} failed\n{text.rstrip()}") from error
    except SystemExit as error:
        raise UsageError(f"{what} ended the program (status {error.code}) before it could be asked for a function; "
                         'put what it runs under `if __name__ == "__main__":`') from error


def _choices(module: Any) -> str:
    from .runtime.callable import CompiledFunction

    values = getattr(module, "__dict__", {})
    names = [name for name, value in values.items() if isinstance(value, CompiledFunction)]
    return f"; compiled functions there: {', '.join(names)}" if names else ""


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _build(options: argparse.Namespace) -> int:
    for path in find_function(options.function).export(options.output, options.target):
        print(path)
    return 0


def _dump(options: argparse.Namespace) -> int:
    text = find_function(options.function).dump(options.stage)
    try:
        print(text.rstrip("\n"), flush=True)
    except BrokenPipeError:
        # The reader (`head`, say) has seen enough; the interpreter must not complain about it on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _report(options: argparse.Namespace) -> int:
    print(find_function(options.function).report)
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from .doctor import examine

    return examine()


def _bench(options: argparse.Namespace) -> int:
    import subprocess

    root = Path(__file__).resolve().parent.parent
    script = root / "benchmarks" / "bench.py"
    if not script.is_file() or not (root / "pyproject.toml").is_file():
        raise UsageError(
            "bench: the benchmarks are not part of an installed package; get the source, install it with "
            "`pip install -e '.[bench]'`, and run `adjoint bench` there"
        )
    return subprocess.run([sys.executable, str(script), *options.rest]).returncode


def _cache(options: argparse.Namespace) -> int:
    from .doctor import bytes_text
    from .runtime.cache import Cache

    cache = Cache()
    before = cache.sizes()
    if options.clear:
        cache.clear()
        count, size = sum(n for n, _ in before.values()), sum(s for _, s in before.values())
        print(f"{cache.root}: deleted {count} files, {bytes_text(size)}")
        return 0
    print(cache.root)
    for kind, (count, size) in before.items():
        print(f"  {kind:<8}{count:>8} files {bytes_text(size):>12}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
