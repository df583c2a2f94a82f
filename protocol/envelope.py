"""The envelope of a manifest: the parameters that every record under it keeps to, read from its map.

A reader refuses a manifest that asks for something the reader does not know, because it could not enforce it.
Normative text: docs/spec/manifest.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.kinds import KINDS
from tslg.protocol.limits import DEFAULT
from tslg.protocol.signatures import Alg

RESERVED: Final = ("access", "anchoring", "corrections", "gc", "recording", "redaction", "retention", "rotation")
"""Envelope entries whose rules this version does not enforce yet; a manifest that sets one is refused."""

_PLAIN: Final = (
    "address",
    "classes",
    "clock_skew_ms",
    "cross_agent",
    "edges",
    "fan_in",
    "genesis",
    "hash",
    "post_quantum",
    "signatures",
    "tiers",
    "verify_depth",
)
ENVELOPE_KEYS: Final = frozenset(RESERVED) | frozenset(_PLAIN)


@dataclass(frozen=True, slots=True)
class CrossAgent:
    """X_admit: which kinds of other agents' records may be cited, and whose (a peer set record, None for anybody's)."""

    kinds: frozenset[str]
    peers: Link | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """The parameters that every record under a manifest keeps to.

    Attributes:
        hash: name of H, a key of `cid.HASHES`.
        address: `flat` in this version.
        edges: `typed` in this version.
        signatures: COSE numbers that agents' keys may have.
        post_quantum: whether a post-quantum signature must stand beside the classical one (False in this version).
        fan_in_min: fewest edges of a record that does not start a log.
        fan_in_max: most edges of any record.
        verify_depth: D_verify, how many edges a reader must traverse; None for all of them.
        cross_agent: None where X_admit is open.
        genesis_anchors: how many anchors attest a genesis; 0 for none.
        classes: governance classes that records may claim.
        tiers: capability tiers, lowest first.
        clock_skew_ms: how far ahead of the reader's clock a record may lie.
    """

    hash: str
    address: str
    edges: str
    signatures: tuple[int, ...]
    post_quantum: bool
    fan_in_min: int
    fan_in_max: int
    verify_depth: int | None
    cross_agent: CrossAgent | None
    genesis_anchors: int
    classes: tuple[str, ...]
    tiers: tuple[str, ...]
    clock_skew_ms: int


def read_envelope(value: dict[str, Any], threshold: int) -> Envelope:
    """Read the `envelope` of a manifest body whose anchors sign `threshold` at a time.

    Raises:
        ValueError: an entry is missing, unknown, malformed, or asks for what this version cannot enforce.
    """
    if value.keys() != ENVELOPE_KEYS:
        odd = sorted(value.keys() ^ ENVELOPE_KEYS)
        raise ValueError(f"envelope entries missing or unknown: {', '.join(odd)[:200]}")
    for name in RESERVED:
        if value[name] != {}:
            raise ValueError(f"`{name}` is not enforced by this version; leave it empty")
    _need(value["hash"] in cid.HASHES if isinstance(value["hash"], str) else False, "`hash` is not on the whitelist")
    _need(value["address"] == "flat", "`address` must be flat in this version")
    _need(value["edges"] == "typed", "`edges` must be typed in this version")
    _need(value["signatures"] == [int(Alg.ED25519)], "`signatures` must be [-19] (Ed25519) in this version")
    _need(value["post_quantum"] is False, "`post_quantum` must be false in this version")
    fan_in = value["fan_in"]
    _need(isinstance(fan_in, dict) and fan_in.keys() == {"min", "max"}, "`fan_in` is {min, max}")
    low, high = fan_in["min"], fan_in["max"]
    _need(_count(low) and _count(high) and 1 <= low <= high <= DEFAULT.fan_in, "`fan_in` is 1 <= min <= max <= 256")
    depth = value["verify_depth"]
    _need(depth is None or (_count(depth) and depth >= 1), "`verify_depth` is a count from 1, or null")
    skew = value["clock_skew_ms"]
    _need(_count(skew) and skew <= DEFAULT.clock_skew_ms, f"`clock_skew_ms` is at most {DEFAULT.clock_skew_ms}")
    genesis = value["genesis"]
    _need(isinstance(genesis, dict) and genesis.keys() == {"anchors"}, "`genesis` is {anchors}")
    attesting = genesis["anchors"]
    _need(_count(attesting) and attesting in (0, threshold), "`genesis.anchors` is 0 or the threshold")
    return Envelope(
        value["hash"],
        "flat",
        "typed",
        (int(Alg.ED25519),),
        False,
        low,
        high,
        depth,
        _cross_agent(value["cross_agent"]),
        attesting,
        _names(value["classes"], "classes", ordered=False),
        _names(value["tiers"], "tiers", ordered=True),
        skew,
    )


def _cross_agent(value: Any) -> CrossAgent | None:
    if value == "open":
        return None
    _need(isinstance(value, dict) and value.keys() == {"kinds", "peers"}, '`cross_agent` is "open" or {kinds, peers}')
    kinds, peers = value["kinds"], value["peers"]
    _need(isinstance(kinds, list) and all(isinstance(k, str) and k in KINDS for k in kinds), "unknown kind in X_admit")
    _need(kinds == sorted(set(kinds)), "`cross_agent.kinds` is a sorted set")
    _need(peers is None, "`cross_agent.peers` must be null in this version")
    return CrossAgent(frozenset(kinds), None)


def _names(value: Any, what: str, *, ordered: bool) -> tuple[str, ...]:
    _need(isinstance(value, list) and all(isinstance(name, str) and 0 < len(name) <= 256 for name in value), what)
    _need(len(set(value)) == len(value), f"`{what}` repeats a name")
    _need(ordered or value == sorted(value), f"`{what}` is a sorted set")
    return tuple(value)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= DEFAULT.integer


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
