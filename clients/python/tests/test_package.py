"""Everything that is public is explained, and the stubs are what the protos say."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import leasehold
import leasehold.aio

HERE = Path(__file__).resolve().parent.parent
GENERATED = HERE / "src" / "leasehold" / "v1"


@pytest.mark.parametrize("module", [leasehold, leasehold.aio])
def test_every_public_item_is_explained(module: ModuleType) -> None:
    unexplained = []
    for name in module.__all__:
        item = getattr(module, name)
        if not inspect.isclass(item):
            continue
        if not item.__doc__ or item.__doc__.startswith(f"{name}("):
            unexplained.append(name)
        for member, value in inspect.getmembers(item):
            if member.startswith("_") or not (inspect.isfunction(value) or isinstance(value, property)):
                continue
            if not inspect.getdoc(value):
                unexplained.append(f"{name}.{member}")
    assert unexplained == []


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
