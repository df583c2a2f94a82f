"""The demonstration's federation: three anchors, no dealer, any two sign; the files are those of anchors far apart.

FOLDER/manifest.toml          what people wrote
FOLDER/federation.sealed      the sealed root manifest: what a node or an auditor is given
FOLDER/shared/                what the anchors passed to each other
FOLDER/anchors/NAME/          what each kept to itself
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import trio

from tslg.manifests import signing, text, versions
from tslg.manifests.ceremony_files import dkg_commit, dkg_finish, dkg_share, dkg_start
from tslg.manifests.files import Step, write_once
from tslg.manifests.genesis import propose_genesis
from tslg.manifests.keys import ANCHORS_FILE, read_anchors, read_key
from tslg.node.agent import BlockingAgent
from tslg.node.demo.errors import DemoError
from tslg.node.home import Home, wall_clock
from tslg.protocol.codec import Link
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record


@dataclass(frozen=True, slots=True)
class Federation:
    """A founded federation, and where its anchors keep their keys.

    Attributes:
        manifest_record: the root manifest.
        sealed: the file with the sealed root manifest.
        key_files: one secret key file an anchor, in the manifest's order.
    """

    manifest_record: Record
    sealed: Path
    key_files: tuple[Path, ...]

    @property
    def id(self) -> Link:
        """The federation's id."""
        return self.manifest_record.id

    @property
    def manifest(self) -> Manifest:
        """The root manifest, read."""
        return Manifest.from_record(self.manifest_record)

    def attest(self, request: bytes) -> bytes:
        """Return the seal of what a request asks for: each of as many anchors as it takes judges and signs by itself.

        Raises:
            ManifestError, Refusal: an anchor refuses to sign it.
        """
        return _sign(request, self.key_files[-self.manifest.anchors.threshold :])


def found(folder: Path) -> Federation:
    """Let three anchors make a key together and sign the manifest that the folder's text says.

    Raises:
        ManifestError: a file cannot be written, or holds another ceremony.
    """
    written = files("tslg.node.demo").joinpath("federation.toml").read_bytes()
    write_once(folder / "manifest.toml", written)
    wanted = text.parse(written.decode(), "manifest.toml")
    shared = folder / "shared"
    key_files = _make_key(shared, folder / "anchors", wanted.members, wanted.threshold)
    body = wanted.body(read_anchors(shared / ANCHORS_FILE, wanted), os.urandom(text.NONCE_BYTES), 1)
    manifest = versions.root_manifest(body, time_ms=wall_clock())
    request = signing.encode_request(signing.propose(manifest))
    write_once(shared / "manifest.request", request)
    seal = _sign(request, key_files[: wanted.threshold])
    sealed = folder / "federation.sealed"
    write_once(sealed, signing.encode_sealed(manifest.data, seal))
    return Federation(manifest, sealed, key_files)


async def join(home: Home, name: str, attest: Callable[[bytes], Awaitable[bytes]]) -> BlockingAgent:
    """Return this home's agent of that name, made if there is none, with a genesis that the anchors attest.

    Args:
        home: the agent's.
        name: the agent's.
        attest: from the bytes of a request to the anchors to the bytes of the seal.

    Raises:
        Refusal: the seal does not do.
    """
    for agent in home.agents:
        if agent.name == name:
            return agent
    key = home.request_agent(name)
    request = propose_genesis(key.genesis, key.key, home.manifest_record)
    seal = await attest(signing.encode_request(request))
    return await trio.to_thread.run_sync(home.join_agent, key, seal)


def _make_key(shared: Path, private: Path, members: tuple[str, ...], threshold: int) -> tuple[Path, ...]:
    """Run the ceremony: commit, compare the transcript, share, finish; return the key files."""
    dkg_start(shared, members, threshold)
    transcript = [dkg_commit(shared, private / name, name) for name in members][-1].transcript
    for name in members:
        dkg_share(shared, private / name, name, transcript=transcript)
    finished = [dkg_finish(shared, private / name, name) for name in members]
    if finished[-1].waiting:
        raise DemoError(f"the key ceremony still waits for {', '.join(finished[-1].waiting)}")
    return tuple(_key_file(step) for step in finished)


def _key_file(step: Step) -> Path:
    return next(path for path in step.written if path.name.endswith(".key.json"))


def _sign(request: bytes, key_files: tuple[Path, ...]) -> bytes:
    """Have each anchor read the request anew, as it would on its own machine, and combine what they signed."""
    partials = []
    for path in key_files:
        key = read_key(path)
        partials.append((key.member, signing.sign(signing.decode_request(request), key)))
    return signing.combine(signing.decode_request(request), partials)
