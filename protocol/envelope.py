"""The envelope of a manifest: the parameters that every record under it keeps to, read from its map.

Each entry has a small reader of its own. A reader refuses a manifest that asks for something the reader does not know,
because it could not enforce it. Normative text: docs/spec/manifest.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tslg.protocol import cid
from tslg.protocol.access_rules import Access, read_access
from tslg.protocol.anchoring import Anchoring, read_anchoring
from tslg.protocol.attestation.demand import Hardware, read_hardware
from tslg.protocol.codec import Link
from tslg.protocol.kinds import KINDS
from tslg.protocol.limits import DEFAULT
from tslg.protocol.recording import Recording, read_recording
from tslg.protocol.signatures import Alg

REDACTORS: Final = ("author", "anchors")
"""Who may redact a record."""

ADDRESSES: Final = ("flat", "merkle")
"""Address schemes that need no further hash: how a record's id covers its fields."""


class CrossAgent(NamedTuple):
    """X_admit: which kinds of other agents' records may be cited, and whose (a peer set record, None for anybody's)."""

    kinds: frozenset[str]
    peers: Link | None


class Redaction(NamedTuple):
    """Who may redact, `author` or `anchors`, and records of which kinds."""

    by: str
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rotation:
    """How keys come and go.

    Attributes:
        anchors: whether the anchors seal that too.
        recovery: whether they may put a key in the place of lost ones.
        hardware: which hardware keys may be bound to; None for none.
    """

    anchors: bool
    recovery: bool
    hardware: Hardware | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """The parameters that every record under a manifest keeps to.

    Attributes:
        access: who may read what; None where anybody reads everything.
        address: `flat`, `merkle` where records only commit to the fields that no rule reads, or `hybrid`.
        anchoring: which witnesses must cosign agents' logs, and when; None where none must.
        classes: governance classes that records may claim.
        clock_skew_ms: how far ahead of the reader's clock a record may lie.
        corrections: the correction policy record, None where none governs corrections.
        cross_agent: None where X_admit is open.
        edges: `typed`, or `flat` if records name their predecessors without classes.
        fan_in_min: fewest edges of a record that does not start a log: one, since some kinds have a single edge.
        fan_in_max: most edges of any record.
        gc: the policy record that governs what storage may let go of, None where nothing may go.
        genesis_anchors: how many anchors attest a genesis; 0 for none.
        hash: name of H, a key of `cid.HASHES`.
        preds_hash: name of H2, the hash of predecessors in a hybrid id; None under other schemes.
        post_quantum: whether a post-quantum signature stands beside the classical one in every agent's seal.
        recording: what is kept of models' steps, and by whose keys.
        redaction: who may redact records of which kinds; None where each author may redact its own.
        retention: by kind, how long its records must be kept at least (ms).
        rotation: how keys come and go.
        signatures: COSE numbers that agents' keys may have.
        tiers: capability tiers, lowest first.
        verify_depth: D_verify, how many edges a reader must traverse; None for all of them.
    """

    access: Access | None
    address: str
    anchoring: Anchoring | None
    classes: tuple[str, ...]
    clock_skew_ms: int
    corrections: Link | None
    cross_agent: CrossAgent | None
    edges: str
    fan_in_min: int
    fan_in_max: int
    gc: Link | None
    genesis_anchors: int
    hash: str
    preds_hash: str | None
    post_quantum: bool
    recording: Recording
    redaction: Redaction | None
    retention: Mapping[str, int]
    rotation: Rotation
    signatures: tuple[int, ...]
    tiers: tuple[str, ...]
    verify_depth: int | None

    @property
    def ids(self) -> str:
        """How ids are computed: the name of H, or `H1+H2` where they are hybrid."""
        return self.hash if self.preds_hash is None else f"{self.hash}+{self.preds_hash}"


def read_envelope(value: dict[str, Any], threshold: int) -> Envelope:
    """Read the `envelope` of a manifest body whose anchors sign `threshold` at a time.

    Raises:
        ValueError: an entry is missing, unknown, malformed, or asks for what this version cannot enforce.
    """
    if value.keys() != ENVELOPE_KEYS:
        odd = sorted(value.keys() ^ ENVELOPE_KEYS)
        raise ValueError(f"envelope entries missing or unknown: {', '.join(odd)[:200]}")
    # Only Ed25519 keys sign checkpoints: without them every log would close at its first record.
    checkpoints = value["anchoring"] == {} or int(Alg.ED25519) in _signatures(value["signatures"])
    _need(checkpoints, "`anchoring` needs Ed25519 among the `signatures`")
    return Envelope(
        access=read_access(value["access"], _genesis(value["genesis"], threshold) > 0),
        address=_address(value["address"], value["hash"]),
        preds_hash=value["address"]["hybrid"] if isinstance(value["address"], dict) else None,
        anchoring=read_anchoring(value["anchoring"]),
        classes=_classes(value["classes"]),
        clock_skew_ms=_clock_skew(value["clock_skew_ms"]),
        corrections=_policy(value["corrections"], "corrections"),
        cross_agent=_cross_agent(value["cross_agent"]),
        edges=_edges(value["edges"]),
        fan_in_min=_fan_in(value["fan_in"])[0],
        fan_in_max=_fan_in(value["fan_in"])[1],
        gc=_policy(value["gc"], "gc"),
        genesis_anchors=_genesis(value["genesis"], threshold),
        hash=_hash(value["hash"]),
        post_quantum=_post_quantum(value["post_quantum"]),
        redaction=_redaction(value["redaction"]),
        retention=_retention(value["retention"]),
        rotation=_rotation(value["rotation"]),
        # After the entries that it is held against: arguments are judged in their order.
        recording=read_recording(value["recording"], value),
        signatures=_signatures(value["signatures"]),
        tiers=_tiers(value["tiers"]),
        verify_depth=_verify_depth(value["verify_depth"]),
    )


_READ: Final = (
    "access",
    "address",
    "anchoring",
    "classes",
    "clock_skew_ms",
    "corrections",
    "cross_agent",
    "edges",
    "fan_in",
    "gc",
    "genesis",
    "hash",
    "post_quantum",
    "recording",
    "redaction",
    "retention",
    "rotation",
    "signatures",
    "tiers",
    "verify_depth",
)
ENVELOPE_KEYS: Final = frozenset(_READ)
"""Every entry that an envelope has, no other."""


def _address(value: Any, hash_name: Any) -> str:
    if isinstance(value, dict):
        _need(value.keys() == {"hybrid"} and value["hybrid"] in tuple(cid.HASHES), "`address.hybrid` is a hash")
        _need(value["hybrid"] != hash_name, "`address.hybrid` is another hash than `hash`")
        return "hybrid"
    _need(isinstance(value, str) and value in ADDRESSES, f"`address` is one of {', '.join(ADDRESSES)}, or {{hybrid}}")
    return str(value)


def _classes(value: Any) -> tuple[str, ...]:
    return _names(value, "classes", ordered=False)


def _clock_skew(value: Any) -> int:
    _need(_count(value) and value <= DEFAULT.clock_skew_ms, f"`clock_skew_ms` is at most {DEFAULT.clock_skew_ms}")
    return int(value)


def _policy(value: Any, name: str) -> Link | None:
    """Read an entry that is empty or names the policy record that governs it."""
    if value == {}:
        return None
    _need(isinstance(value, dict) and value.keys() == {"policy"}, f"`{name}` is {{}} or {{policy}}")
    return _record(value["policy"], f"{name}.policy")


def _cross_agent(value: Any) -> CrossAgent | None:
    if value == "open":
        return None
    _need(isinstance(value, dict) and value.keys() == {"kinds", "peers"}, '`cross_agent` is "open" or {kinds, peers}')
    kinds, peers = value["kinds"], value["peers"]
    _need(isinstance(kinds, list) and all(isinstance(k, str) and k in KINDS for k in kinds), "unknown kind in X_admit")
    _need(kinds == sorted(set(kinds)), "`cross_agent.kinds` is a sorted set")
    return CrossAgent(frozenset(kinds), None if peers is None else _record(peers, "cross_agent.peers"))


def _edges(value: Any) -> str:
    _need(value in ("typed", "flat") and isinstance(value, str), "`edges` is typed or flat")
    return str(value)


def _fan_in(value: Any) -> tuple[int, int]:
    _need(isinstance(value, dict) and value.keys() == {"min", "max"}, "`fan_in` is {min, max}")
    low, high = value["min"], value["max"]
    _need(
        _count(low) and low == 1 and _count(high) and low <= high <= DEFAULT.fan_in,
        "`fan_in` is min 1 and max from 1 to 256",
    )
    return low, high


def _genesis(value: Any, threshold: int) -> int:
    _need(isinstance(value, dict) and value.keys() == {"anchors"}, "`genesis` is {anchors}")
    attesting = value["anchors"]
    _need(_count(attesting) and attesting in (0, threshold), "`genesis.anchors` is 0 or the threshold")
    return int(attesting)


def _hash(value: Any) -> str:
    _need(isinstance(value, str) and value in cid.HASHES, "`hash` is not on the whitelist")
    return str(value)


def _post_quantum(value: Any) -> bool:
    _need(type(value) is bool, "`post_quantum` is true or false")
    return bool(value)


def _redaction(value: Any) -> Redaction | None:
    if value == {}:
        return None
    _need(isinstance(value, dict) and value.keys() == {"by", "kinds"}, "`redaction` is {} or {by, kinds}")
    by, kinds = value["by"], value["kinds"]
    _need(isinstance(by, str) and by in REDACTORS, f"`redaction.by` is one of {', '.join(REDACTORS)}")
    _need(isinstance(kinds, list) and all(isinstance(k, str) and k in KINDS for k in kinds), "unknown kind to redact")
    _need(kinds == sorted(set(kinds)), "`redaction.kinds` is a sorted set")
    return Redaction(by, frozenset(kinds))


def _rotation(value: Any) -> Rotation:
    if value == {}:
        return Rotation(False, False)
    known = {"anchors", "recovery"}
    _need(
        isinstance(value, dict) and value.keys() - {"hardware"} == known,
        "`rotation` is {} or {anchors, recovery}, with hardware or without",
    )
    anchors, recovery = value["anchors"], value["recovery"]
    _need(type(anchors) is bool and type(recovery) is bool, "`rotation.anchors` and `.recovery` are true or false")
    _need(anchors or not recovery, "`rotation.recovery` needs `rotation.anchors`")
    return Rotation(anchors, recovery, read_hardware(value["hardware"]) if "hardware" in value else None)


def _retention(value: Any) -> Mapping[str, int]:
    _need(isinstance(value, dict) and all(kind in KINDS for kind in value), "`retention` is {} or {kind: ms}")
    _need(all(_count(least) for least in value.values()), "`retention` is {} or {kind: ms}")
    return dict(value)


def _signatures(value: Any) -> tuple[int, ...]:
    known = [number for number in (Alg.ED25519, Alg.ES256K) if isinstance(value, list) and number in value]
    _need(bool(known) and value == known, "`signatures` is [-19], [-47] or [-19, -47]")
    return tuple(int(number) for number in known)


def _tiers(value: Any) -> tuple[str, ...]:
    return _names(value, "tiers", ordered=True)


def _verify_depth(value: Any) -> int | None:
    _need(value is None or (_count(value) and value >= 1), "`verify_depth` is a count from 1, or null")
    return None if value is None else int(value)


def _names(value: Any, what: str, *, ordered: bool) -> tuple[str, ...]:
    _need(isinstance(value, list) and all(isinstance(name, str) and 0 < len(name) <= 256 for name in value), what)
    _need(len(set(value)) == len(value), f"`{what}` repeats a name")
    _need(ordered or value == sorted(value), f"`{what}` is a sorted set")
    return tuple(value)


def _record(value: Any, what: str) -> Link:
    if not isinstance(value, Link) or not cid.is_record_id(value):
        raise ValueError(f"`{what}` is the id of a record")
    return value


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= DEFAULT.integer


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
