"""A made-up folder of installed packages, and two agents of one node that play both vendors on it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tslg.node.agent import BlockingAgent
from tslg.node.demo import release, scanner
from tslg.node.demo.inspection import Environment, environment
from tslg.node.home import Home
from tslg.protocol.record import Record

NOW = 1_800_000_000_000


class Site:
    """A folder that packages are installed into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    @staticmethod
    def entry(path: str, content: bytes, method: str = "sha256") -> str:
        """The line of a RECORD file for a file of this content."""
        digest = base64.urlsafe_b64encode(hashlib.new(method, content).digest()).rstrip(b"=").decode()
        return f"{path},{method}={digest},{len(content)}"

    def install(
        self,
        name: str,
        files: Mapping[str, bytes] | None = None,
        *,
        headers: str = "License-Expression: MIT\n",
        record: str | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> Path:
        """Install a package; `record` replaces its RECORD (empty: none), `extra` adds files to its dist-info."""
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{headers}\nIts text.\n")
        lines = []
        for path, content in (files if files is not None else {f"{name}/__init__.py": b"x = 1\n"}).items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
            lines.append(self.entry(path, content))
        lines += [f"{name}/__pycache__/__init__.cpython-311.pyc,,", f"{info.name}/RECORD,,"]
        text = "\n".join(lines) + "\n" if record is None else record
        if text:
            (info / "RECORD").write_text(text)
        for path, content in (extra or {}).items():
            (info / path).write_text(content)
        return info

    def environment(self) -> Environment:
        return environment([str(self.folder)])


@pytest.fixture
def now() -> int:
    return NOW


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site-packages")


@dataclass
class Scene:
    """Both vendors in one home: A granted and delegated, B scanned, A decided."""

    home: Home
    a: BlockingAgent
    b: BlockingAgent
    given: release.Charge
    delegation: Record
    summary: Record
    told: list[tuple[int, int | None]]


@pytest.fixture
def play(tmp_path: Path, site: Site) -> Iterator[Callable[[], Scene]]:
    """Play the delegation on whatever is installed by then."""
    opened: list[Home] = []

    def played() -> Scene:
        home = Home.open(tmp_path / "home", clock=lambda: NOW)
        opened.append(home)
        a, b = home.agent("vendor-a"), home.agent("vendor-b")
        found = site.environment()
        given = release.charge(a, found, NOW)
        delegation = a.delegate(b.id, {"inspect": "environment"}, given.grant, expires=given.expires)
        told: list[tuple[int, int | None]] = []
        summary = scanner.scan(
            b,
            delegation,
            scanner.granted_policy(home.store, delegation),
            found,
            lambda done, total: told.append((done, total)),
        )
        return Scene(home, a, b, given, delegation, summary, told)

    yield played
    for home in opened:
        home.close()
