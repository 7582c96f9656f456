"""Everything that is public is explained, and the stubs are what the protos say."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import leasehold
import leasehold.aio
from leasehold import _changes

HERE = Path(__file__).resolve().parent.parent
GENERATED = HERE / "src" / "leasehold" / "v1"


@pytest.mark.parametrize("module", [leasehold, leasehold.aio])
def test_every_public_item_is_explained(module: ModuleType) -> None:
    assert module.__doc__
    unexplained = []
    for name in module.__all__:
        item = getattr(module, name)
        if inspect.ismodule(item):
            continue
        if not inspect.isclass(item):
            # A name for a type has no place of its own for words: they stand below it, as an attribute's do.
            unexplained += [name] if name in without_words(ast.parse(SOURCES[name])) else []
            continue
        if not item.__doc__ or item.__doc__.startswith(f"{name}("):
            unexplained.append(name)
        for member, value in inspect.getmembers(item):
            if member.startswith("_") or not (inspect.isroutine(value) or isinstance(value, property)):
                continue
            if not inspect.getdoc(value):
                unexplained.append(f"{name}.{member}")
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(item))).body
        assert isinstance(body, ast.ClassDef)
        unexplained += [f"{name}.{attribute}" for attribute in without_words(body)]
    assert unexplained == []


SOURCES = {name: inspect.getsource(_changes) for name in ("Change", "Standing", "WhyEnded")}


def without_words(body: ast.Module | ast.ClassDef) -> list[str]:
    """The public names that are assigned there, and not explained in the line below."""
    found = []
    for statement, below in zip(body.body, [*body.body[1:], ast.Pass()], strict=True):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                explained = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                if not name.startswith("_") and not explained:
                    found.append(name)
            case _:
                pass
    return found


def test_what_is_not_explained_is_found() -> None:
    body = ast.parse('class A:\n    a: int\n    """What."""\n    b: int\n    c = 1\n    _d = 2\n').body[0]
    assert isinstance(body, ast.ClassDef)
    assert without_words(body) == ["b", "c"]


def test_nothing_of_asyncio_is_missing_there() -> None:
    def public(item: type) -> set[str]:
        return {name for name in dir(item) if not name.startswith("_")}

    assert public(leasehold.Client) == public(leasehold.aio.Client)
    assert public(leasehold.Leased) == public(leasehold.aio.Leased)


def test_the_stubs_are_what_the_protos_say(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    subprocess.run([sys.executable, HERE / "generate", tmp_path], check=True)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "leasehold" / "v1").iterdir()}
    committed = {path.name: path.read_bytes() for path in GENERATED.iterdir() if path.is_file()}
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    assert stale == [], "run clients/python/generate"
