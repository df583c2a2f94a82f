"""Geneses that several federations attest: whose anchors must sign one, and which of them did.

An agent's log is under the manifest of one federation. The anchors of every federation that its genesis lists sign that
genesis, and with it the choice of that manifest. Normative text: docs/spec/federation.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import SealError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.seal import Signature, parse, to_be_signed
from tslg.protocol.signatures import Alg


class Attestation(NamedTuple):
    """What one federation's anchors say of a genesis.

    Attributes:
        federation: the federation.
        manifest: the version of its manifest that the signature names.
        holds: whether the signature verifies; None where that version is not at hand.
    """

    federation: Link
    manifest: Link
    holds: bool | None


def attesting(record: Record) -> Sequence[Link]:
    """Return the federations whose anchors must sign a genesis together, sorted; none unless it lists several."""
    federations: Sequence[Link] = record.body.get("federations", ()) if record.kind == "genesis" else ()
    return federations if len(federations) > 1 else ()


def attestations(genesis: Record, seal: bytes, manifests: Mapping[Link, Manifest]) -> list[Attestation]:
    """Return what each federation's anchors say of a genesis that several attest; nothing for any other record.

    Args:
        genesis: the genesis.
        seal: its seal's bytes.
        manifests: manifest versions that the reader has verified, by id, of whichever federations.
    """
    federations = attesting(genesis)
    try:
        entries = parse(seal).signatures[-len(federations) :] if federations else ()
    except SealError:
        return []
    if len(entries) < len(federations):
        return []
    found = []
    for federation, entry in zip(federations, entries, strict=True):
        if fault(entry) is None:
            manifest = manifests.get(Link(entry.kid))
            holds = None if manifest is None else attests(genesis, entry, manifest, federation)
            found.append(Attestation(federation, Link(entry.kid), holds))
    return found


def attests(genesis: Record, entry: Signature, manifest: Manifest, federation: Link) -> bool:
    """Tell whether an entry of a genesis' seal is by the anchors of this version of that federation's manifest."""
    if manifest.federation != federation or entry.kid != manifest.id or entry.alg != manifest.anchors.scheme:
        return False
    return manifest.anchors.verify(to_be_signed(genesis.data, entry.alg, many=True), entry.value, entry.bitmap)


def fault(entry: Signature) -> str | None:
    """Return what is wrong with the form of another federation's entry, whose manifest need not be at hand."""
    if entry.alg not in (Alg.BLS_THRESHOLD, Alg.BLS_MULTISIG) or not cid.is_record_id(entry.kid):
        return "a federation that attests the genesis signs by its anchors, and names its manifest version"
    if (entry.bitmap is not None) != (entry.alg == Alg.BLS_MULTISIG):
        return "the signature of another federation's anchors is malformed"
    return None
