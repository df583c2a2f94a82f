"""Requests to a federation's anchors to sign a record: what one holds, who must sign, and what is refused.

A request is bytes, carried as a file or a message; nothing in it is secret. It brings the manifest versions whose
anchors must sign, so that each anchor judges by itself, by the rules of admission, what it signs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tslg.manifests.files import decode_message, encode_message, to_plain
from tslg.protocol import admission, cid, record, signatures
from tslg.protocol.chains import named_records
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError, ManifestError, RecordError
from tslg.protocol.jointly import attesting
from tslg.protocol.keys import KEY_EVENTS, NO_REVOCATIONS, Key, Revocations, key_of
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Anchors, Manifest
from tslg.protocol.record import Record
from tslg.protocol.rules.context import MANIFEST_KINDS, Tail, manifest_in_force, refuse
from tslg.protocol.rules.seals import seats
from tslg.protocol.seal import Signature, to_be_signed

FEDERATION_KINDS: Final = ("correction-policy", "gc-policy", "peer-set", "policy")
"""Kinds of a federation's own records beside its manifest versions."""
ANCHOR_KINDS: Final = ("genesis", "manifest", "manifest-amendment", "registration", "revocation", *FEDERATION_KINDS)
"""The kinds of records that anchors may sign."""

_REQUEST: Final = "tslg signing request"
_MOST_SUPPORT: Final = 8
"""Records that come with a request: at most one manifest version and what an envelope can name, with room to grow."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in the seal that anchors must fill: the record that names them, and who they are."""

    kid: Link
    anchors: Anchors


@dataclass(frozen=True, slots=True)
class Request:
    """A record that waits for its anchors.

    Attributes:
        record: what is to be signed.
        support: the records of the manifest versions in whose name it is signed, but for the record itself, of the
            records that its own envelope names, and of the keys that an agent's record names.
        own: the agent's own entries of the seal of its genesis, in order; none for any other record.
    """

    record: Record
    support: tuple[Record, ...]
    own: tuple[Signature, ...] = ()

    @property
    def many(self) -> bool:
        """Whether the seal is a COSE_Sign, which signs other bytes than a COSE_Sign1."""
        return self.record.kind == "manifest-amendment" or self.record.kind in KEY_EVENTS

    def seats(self) -> tuple[Seat, ...]:
        """Return whose signatures are needed, in the order of the seal."""
        known = _manifests(self)
        federations = attesting(self.record)
        if federations:
            of = {manifest.federation: manifest for manifest in known.values()}
            return tuple(Seat(of[one].id, of[one].anchors) for one in federations if one in of)
        own = known.get(self.record.id)
        in_force = known.get(self.record.manifest) if self.record.manifest is not None else None
        return tuple(Seat(manifest.id, manifest.anchors) for manifest in (in_force, own) if manifest is not None)

    def _changes(self) -> dict[str, Any]:
        """Return what an amendment changes: by entry, what was and what shall be."""
        before = next((held for held in self.support if held.id == self.record.manifest), None)
        if self.record.kind != "manifest-amendment" or before is None:
            return {}
        was, shall = _stated(before.body), _stated(self.record.body)
        names = sorted(name for name in was.keys() | shall.keys() if was.get(name) != shall.get(name))
        return {name: {"from": to_plain(was.get(name)), "to": to_plain(shall.get(name))} for name in names}

    def message(self, scheme: int) -> bytes:
        """Return the bytes that an anchor signs under `scheme`."""
        return to_be_signed(self.record.data, scheme, many=self.many)

    def summary(self) -> dict[str, Any]:
        """Return what an anchor is asked to sign, for people and programs: kind, name, ids as text, who must sign."""
        item = self.record
        named = item.manifest if item.manifest is not None else item.id
        return {
            "kind": item.kind,
            "name": item.body.get("name", cid.to_text(item.owner)),
            "id": cid.to_text(item.id),
            "version": item.body.get("version"),
            "manifest": cid.to_text(named),
            "time": item.time,
            "expires": item.body.get("expires"),
            "says": to_plain(item.body) if item.kind in FEDERATION_KINDS else {},
            "changes": self._changes(),
            "anchors": [
                {
                    "manifest": cid.to_text(seat.kid),
                    "threshold": seat.anchors.threshold,
                    "members": [member.name for member in seat.anchors.members],
                }
                for seat in self.seats()
            ],
        }


def _stated(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest states, entry by entry, for comparison."""
    anchors = body["anchors"]
    stated = {f"envelope.{name}": value for name, value in body["envelope"].items()}
    stated["anchors.members"] = [[member["name"], member["key"]] for member in anchors["members"]]
    stated |= {f"anchors.{name}": anchors[name] for name in ("scheme", "threshold", "group_key")}
    return stated | {"name": body["name"], "expires": body.get("expires")}


def propose(
    item: Record,
    support: Sequence[Record] = (),
    own: Sequence[Signature] = (),
    *,
    now_ms: int | None = None,
) -> Request:
    """Make the request to sign a record, after every check that an anchor will make.

    Args:
        item: what is to be signed.
        support: the records of the manifest versions in whose name it is signed, but for `item` itself, of the
            records that its own envelope names (`versions.support` finds them), and of the keys that it names.
        own: the agent's own entries of its seal, in order.
        now_ms: the time here, to refuse a record from the future; None where there is no clock to trust.

    Raises:
        ManifestError: `TSLG-M-REQUEST`: not something that anchors sign, or the manifest in force is not given.
        Refusal: an admission rule that the record breaks.
    """
    request = Request(item, tuple(support), tuple(own))
    _check(request, now_ms)
    return request


def encode_request(request: Request) -> bytes:
    """Return a request's bytes."""
    return encode_message(
        _REQUEST,
        {
            "id": request.record.id,
            "record": request.record.data,
            "support": [[item.id, item.data] for item in request.support],
            "own": [[entry.alg, Link(entry.kid), entry.value] for entry in request.own],
        },
    )


def decode_request(data: bytes, name: str = "request", *, now_ms: int | None = None) -> Request:
    """Read a request and check it as `propose` does; messages call it `name`.

    Raises:
        ManifestError: `TSLG-M-FILE` for a damaged file, `TSLG-M-REQUEST`. Refusal: as `propose`.
    """
    checks = {
        "id": lambda value: type(value) is Link,
        "record": lambda value: type(value) is bytes,
        "support": _is_pairs,
        "own": _are_entries,
    }
    fields = decode_message(data, _REQUEST, checks, name)
    try:
        item = record.parse_as(fields["id"], fields["record"])
        support = [record.parse_as(id, content) for id, content in fields["support"]]
    except (CodecError, RecordError) as error:
        mend = "ask the proposer for that file again"
        raise ManifestError(f"{name} holds no record: {error.detail}", code="TSLG-M-REQUEST", mend=mend) from error
    own = [Signature(alg, kid, value) for alg, kid, value in fields["own"]]
    return propose(item, support, own, now_ms=now_ms)


def _are_entries(value: Any) -> bool:
    """Whether these are the entries of a classical key and perhaps a post-quantum one: [alg, kid, signature]."""
    return (
        type(value) is list
        and len(value) <= 2
        and all(
            type(entry) is list
            and len(entry) == 3
            and type(entry[0]) is int
            and type(entry[1]) is Link
            and type(entry[2]) is bytes
            and len(entry[2]) <= DEFAULT.seal_bytes
            for entry in value
        )
    )


def _is_pairs(value: Any) -> bool:
    return (
        type(value) is list
        and len(value) <= _MOST_SUPPORT
        and all(
            type(pair) is list and len(pair) == 2 and type(pair[0]) is Link and type(pair[1]) is bytes for pair in value
        )
    )


def _check(request: Request, now_ms: int | None) -> None:
    """Refuse what anchors must not sign, by the rules of admission but for the log's end and the seal."""
    item = request.record
    if item.kind not in ANCHOR_KINDS:
        raise _no_request(f"anchors do not sign a {item.kind}", f"they sign {', '.join(ANCHOR_KINDS)}", item)
    context = Context(request, now_ms)
    if context.manifest(item.manifest if item.manifest is not None else item.id) is None:
        raise _no_request("the manifest that it is made under is not with it", "propose it with that manifest", item)
    for entry, kind, id in named_records(item.body["envelope"]) if item.kind in MANIFEST_KINDS else ():
        if item.kind != "manifest" and context.record(id) is None:
            detail = f"the {kind} that its `{entry}` names is not with it"
            raise _no_request(detail, "propose it with that record", item)
    if item.kind == "policy" and item.owner != context.federation:
        raise _no_request("anchors sign a federation's policies, not an agent's", "the agent signs it itself", item)
    for rule in admission.STRUCTURE_RULES:
        refusal = rule(item, b"", context)
        if refusal is not None:
            raise refusal
    if item.kind in MANIFEST_KINDS and not Manifest.from_record(item).proofs_hold():
        # Readers do not look at every proof: those who sign answer for them.
        mend = "take the anchors file of a finished ceremony"
        raise refuse("TSLG-A-ANCHORS", item, "an anchor's proof of possession does not hold", mend)
    if item.owner == context.federation:
        if request.own:
            raise _no_request("a federation's record bears no agent's signature", "propose it anew", item)
        return
    _check_own(request, context)


def _check_own(request: Request, context: Context) -> None:
    """Refuse what the agent may do alone, and what it has not signed itself."""
    item = request.record
    key = key_of(item) if item.key is None else context.key(item.key)
    manifest = manifest_in_force(item, context)
    if key is None or manifest is None:
        raise _no_request("the key that it names is not with it", "propose it with that key's record", item)
    if len(request.seats()) < len(attesting(item)):
        mend = "propose it with a manifest version of each federation that it lists"
        raise _no_request("a federation that shall attest it has no manifest version with it", mend, item)
    wanted = seats(item, key, manifest)
    if wanted[-1].anchors is None:
        what = "agents start" if item.kind == "genesis" else "agents change their keys"
        raise _no_request(f"the manifest lets {what} alone", "the agent's own seal is enough", item)
    if item.kind != "genesis":
        # The agent signs last: a request that becomes void is then no second record of the agent's for one place.
        if request.own:
            raise _no_request("the agent signs it after the anchors", "propose it without a signature", item)
        return
    mend = "have the agent sign anew"
    if [(entry.alg, entry.kid) for entry in request.own] != [(seat.alg, seat.kid) for seat in wanted[:-1]]:
        raise _no_request("the agent's own signature is missing, or is another than the record needs", mend, item)
    for seat, entry in zip(wanted, request.own, strict=False):
        message = to_be_signed(item.data, seat.alg, many=True)
        if not signatures.verify(seat.alg, seat.public, message, entry.value):
            raise _no_request("the agent's own signature does not verify", mend, item)


def _no_request(detail: str, mend: str, item: Record) -> ManifestError:
    return ManifestError(detail, code="TSLG-M-REQUEST", mend=mend, record=item.id)


def _manifests(request: Request) -> dict[Link, Manifest]:
    held = (*request.support, request.record)
    return {item.id: Manifest.from_record(item) for item in held if item.kind in MANIFEST_KINDS}


class Context:
    """What admission's rules may know of a request: the records that support it, and no log."""

    complete = False

    def __init__(self, request: Request, now_ms: int | None = None) -> None:
        self._manifests = _manifests(request)
        self._records = {item.id: item for item in request.support}
        item = request.record
        in_force = self._manifests.get(item.manifest if item.manifest is not None else item.id)
        self.federation = in_force.federation if in_force is not None else item.owner
        self.now_ms = now_ms if now_ms is not None else item.time

    def record(self, id: Link) -> Record | None:
        """Return a record that the request brings; edges to others are judged at admission, where the log is."""
        return self._records.get(id)

    def seal_of(self, id: Link) -> bytes | None:
        """Return None: no other record comes with a request."""
        return None

    def manifest(self, id: Link) -> Manifest | None:
        """Return a manifest version that the request brings."""
        return self._manifests.get(id)

    def key(self, id: Link) -> Key | None:
        """Return a key that the request brings."""
        found = self._records.get(id)
        return None if found is None else key_of(found)

    def ended(self, id: Link, record: Record) -> None:
        """Return None: what stands is judged at admission, where the graph is."""
        return

    def answered(self, id: Link, record: Record) -> None:
        """Return None: the log is not here."""
        return

    def revocations(self, owner: Link) -> Revocations:
        """Return none: the log is not here."""
        return NO_REVOCATIONS

    def pruned(self, root: bytes) -> None:
        """Return None: anchors let nothing go."""
        return

    def semantic(self, owner: Link) -> None:
        """Return None: the log is not here."""
        return

    def stretch(self, owner: Link, first: int, last: int) -> None:
        """Return None: the log is not here."""
        return

    def taken(self, record: Record) -> None:
        """Return None: the log is not here."""
        return

    def tail(self, owner: Link) -> Tail | None:
        """Return None: the log is not here."""
        return None

    def attachment(self, id: Link) -> bytes | None:
        """Anchors are shown records alone."""
        return None

    def signature_holds(self, alg: int, public: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature verifies."""
        return signatures.verify(alg, public, message, signature)
