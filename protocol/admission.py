"""Admission: the list of small, named, pure rules that every record passes, whoever made it and however it came.

Each rule takes `(record, seal, context)` and returns a `Refusal` or None. Cheap rules run first, the signature last.
`admit` runs them all for a record that is to be appended to a log held here. A walk, which holds parts of logs, runs
the same rules but for those of the log's end (`LOG_RULES`), which it replaces by proofs.
Normative text: docs/spec/admission.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from tslg.protocol import cid, policy, signatures
from tslg.protocol.codec import Link
from tslg.protocol.errors import RecordError, Refusal, SealError
from tslg.protocol.keys import Key
from tslg.protocol.kinds import KINDS, SCOPE
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, Record
from tslg.protocol.seal import Seal, Signature, to_be_signed
from tslg.protocol.seal import parse as parse_seal


class Tail(NamedTuple):
    """The end of a log: its size, newest record, that record's time (ms), and the tree's root."""

    size: int
    last: Link
    time: int
    root: bytes


class Context(Protocol):
    """What rules may know beside the record: the graph as far as it is held, the federation, and the time.

    `complete` tells whether every predecessor must be at hand (admission), or may lie beyond a bound (a walk).
    """

    @property
    def federation(self) -> Link:
        """The root manifest's id, pinned by whoever judges."""

    @property
    def now_ms(self) -> int:
        """The judge's clock, ms since 1970 UTC."""

    @property
    def complete(self) -> bool:
        """Whether every predecessor must be at hand."""

    def record(self, id: Link) -> Record | None:
        """Return a record that is held, or None."""

    def manifest(self, id: Link) -> Manifest | None:
        """Return a manifest version of this federation that is held and was itself admitted, or None."""

    def key(self, id: Link) -> Key | None:
        """Return the key that a held record registers, or None."""

    def tail(self, owner: Link) -> Tail | None:
        """Return the end of a log that is held whole, None for a log of which nothing is held."""

    def signature_holds(self, alg: int, public: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature verifies; `tslg.protocol.signatures.verify` unless it was just made here."""


Rule = Callable[[Record, bytes, Context], Refusal | None]

MANIFEST_KINDS: Final = frozenset(("manifest", "manifest-amendment"))
"""Kinds that hold a manifest version."""

_CLAIMS: Final = frozenset(SCOPE)
_PRODUCED_BY_POLICY: Final = frozenset(("state", "action", "decision", "observation", "verification"))


def _refuse(code: str, record: Record, detail: str, mend: str = "") -> Refusal:
    return Refusal(detail, code=f"TSLG-A-{code}", mend=mend, record=record.id)


def _manifest_in_force(record: Record, context: Context) -> Manifest | None:
    return context.manifest(record.manifest if record.manifest is not None else record.id)


# --- structure ---------------------------------------------------------------------------------------------------


def rule_issuer(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A record lies in the log of an agent or of this federation, as its kind says."""
    issuer = KINDS[record.kind].issuer
    place = "federation" if record.owner == context.federation else "agent"
    if place in issuer:
        return None
    if record.kind == "manifest":
        return _refuse("ISSUER", record, "the root manifest of another federation", "pin the right federation id")
    return _refuse("ISSUER", record, f"a {record.kind} does not belong into the log of a {place}")


def rule_classes(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Mandatory classes are there, forbidden ones are not."""
    kind = KINDS[record.kind]
    classes = record.preds.keys()
    if kind.mandatory <= classes and classes <= kind.allowed:
        return None
    missing = sorted(kind.mandatory - classes)
    if missing:
        mend = "cite " + " and ".join(f"at least one {name}" for name in missing)
        return _refuse("CLASSES", record, f"a {record.kind} without {' and '.join(missing)}", mend)
    return _refuse("CLASSES", record, f"a {record.kind} may not have {sorted(classes - kind.allowed)}")


def rule_manifest(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The manifest version named resolves and belongs to this federation."""
    manifest = _manifest_in_force(record, context)
    if manifest is None:
        return _refuse("MANIFEST", record, "its manifest is not known here", "fetch the federation's manifest first")
    if manifest.federation != context.federation:
        return _refuse("MANIFEST", record, "its manifest belongs to another federation")
    return None


def rule_hash(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The id uses the manifest's hash."""
    manifest = _manifest_in_force(record, context)
    if manifest is None or cid.hash_name(record.id) == manifest.envelope.hash:
        return None
    return _refuse("HASH", record, f"its id uses {cid.hash_name(record.id)}, not {manifest.envelope.hash}")


def rule_fan_in(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The number of edges lies within the manifest's bounds; a log's first record has none."""
    manifest = _manifest_in_force(record, context)
    if manifest is None or KINDS[record.kind].first:
        return None
    low, high = manifest.envelope.fan_in_min, manifest.envelope.fan_in_max
    count = sum(map(len, record.preds.values()))
    if low <= count <= high:
        return None
    return _refuse("FAN-IN", record, f"{count} edges, the manifest allows {low} to {high}")


def rule_clock(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The claimed time is not ahead of the reader's clock by more than the manifest's skew."""
    if record.time <= context.now_ms:
        return None
    manifest = _manifest_in_force(record, context)
    skew = manifest.envelope.clock_skew_ms if manifest is not None else DEFAULT.clock_skew_ms
    if record.time <= context.now_ms + skew:
        return None
    ahead = record.time - context.now_ms
    return _refuse("CLOCK", record, f"its time is {ahead} ms ahead, {skew} are allowed", "set the clocks right")


# --- edges -------------------------------------------------------------------------------------------------------


def rule_edges(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Every edge leads where it says: to an earlier record of this log, or into the named other agent's log."""
    owner, seq, find = record.agent, record.seq, context.record
    for name, edges in record.preds.items():
        for edge in edges:
            cited = find(edge[0])
            if cited is None:
                refusal = _unheld(record, name, edge, context)
                if refusal is not None:
                    return refusal
                continue
            agent = edge[1]
            if agent is None:
                if cited.owner != owner:
                    return _refuse("EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} is another agent's record")
                if cited.seq >= seq:
                    return _refuse("EDGE-ORDER", record, f"its {name} {cid.short(edge.cid)} is not earlier in the log")
            elif cited.owner != agent or agent == owner:
                return _refuse("EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} is not of the agent it names")
            if name != "evidence":
                wrong = _wrong_log(name, edge) or _wrong_kind(name, edge, cited)
                if wrong:
                    return _refuse("EDGE-KIND", record, wrong)
    return None


def _unheld(record: Record, name: str, edge: Edge, context: Context) -> Refusal | None:
    """Judge an edge whose record is not at hand: by what the edge itself says, and whether it must be at hand."""
    wrong = _wrong_log(name, edge)
    if wrong:
        return _refuse("EDGE-KIND", record, wrong)
    if edge.agent is not None and edge.agent == record.agent:
        return _refuse("EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} names its own agent as another")
    if context.complete and (edge.agent is None or _must_resolve(record, name)):
        mend = "fetch and admit that record first"
        return _refuse("RESOLVE", record, f"its {name} {cid.short(edge.cid)} is not held here", mend)
    return None


def _must_resolve(record: Record, name: str) -> bool:
    return name in KINDS[record.kind].mandatory or name in ("policy", "delegation")


def _wrong_log(name: str, edge: Edge) -> str | None:
    if name == "prior" and edge.agent is not None:
        return "a prior state lies in the agent's own log"
    if name == "delegation" and edge.agent is None:
        return "a delegation comes from another agent"
    return None


def _wrong_kind(name: str, edge: Edge, cited: Record) -> str | None:
    if name in ("policy", "delegation") and cited.kind != name:
        return f"its {name} {cid.short(edge.cid)} is a {cited.kind}"
    if name == "amends" and cited.kind not in MANIFEST_KINDS:
        return f"it amends a {cited.kind}"
    return None


def rule_cross_agent(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Edges into other agents' logs keep to the manifest's X_admit."""
    manifest = _manifest_in_force(record, context)
    if manifest is None or manifest.envelope.cross_agent is None:
        return None
    kinds = manifest.envelope.cross_agent.kinds
    for edge in record.edges():
        if edge.agent is None or edge.agent == context.federation:
            continue
        cited = context.record(edge.cid)
        if cited is not None and cited.kind not in kinds:
            detail = f"it cites another agent's {cited.kind}; X_admit allows {sorted(kinds)}"
            return _refuse("CROSS-AGENT", record, detail)
    return None


# --- authority ---------------------------------------------------------------------------------------------------


def rule_scope(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Every policy cited covers the record's time and what the record claims; without one, it claims nothing."""
    edges = record.preds.get("policy")
    claims = record.kind in _PRODUCED_BY_POLICY and not _CLAIMS.isdisjoint(record.body)
    if edges is None:
        if not claims:
            return None
        names = ", ".join(sorted(_CLAIMS & record.body.keys()))
        return _refuse("SCOPE", record, f"it claims {names} without a policy", "cite a policy that grants it")
    for edge in edges:
        cited = context.record(edge[0])
        if cited is None or cited.kind != "policy":
            continue
        beyond = policy.out_of_window(record.time, cited.body)
        if beyond:
            return _refuse("WINDOW", record, beyond, "cite a policy that is in force")
        beyond = policy.out_of_scope(record, cited.body) if claims else None
        if beyond:
            return _refuse("SCOPE", record, beyond, "cite a policy that grants it, or do less")
    return None


def rule_vocabulary(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Governance classes and tiers of a policy are those of the manifest."""
    manifest = _manifest_in_force(record, context)
    if record.kind != "policy" or manifest is None:
        return None
    for name, known in (("classes", manifest.envelope.classes), ("tiers", manifest.envelope.tiers)):
        extra = set(record.body[name]) - set(known)
        if extra:
            return _refuse("VOCABULARY", record, f"{name} {sorted(extra)} are not in the manifest")
    return None


def rule_narrowing(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A policy that cites a policy is no wider than it."""
    if record.kind != "policy":
        return None
    for edge in record.preds.get("policy", ()):
        wide = context.record(edge.cid)
        if wide is not None and wide.kind == "policy":
            wider = policy.widening(record.body, wide.body)
            if wider:
                return _refuse("WIDENED", record, wider, "grant no more than you hold")
    return None


def rule_delegation(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A delegation that is cited was made to this agent, is unexpired, and grants every policy that is cited."""
    if "delegation" not in record.preds:
        return None
    chains = {edge.cid: _chain(edge.cid, context) for edge in record.preds.get("policy", ())}
    for edge in record.preds["delegation"]:
        cited = context.record(edge.cid)
        if cited is None or cited.kind != "delegation":
            continue
        if cited.body["delegate"] != record.agent:
            return _refuse("DELEGATE", record, "the delegation was made to another agent", "cite one made to you")
        if record.time > cited.body["expires"]:
            return _refuse("EXPIRED", record, f"the delegation expired at {cited.body['expires']}", "ask for a new one")
        if record.kind == "policy" and _outlives(record.body["not_after"], cited.body["expires"]):
            return _refuse("EXPIRED", record, "the policy outlives the delegation behind it", "set `not_after`")
        refusal = _outside_grant(record, cited, chains, context)
        if refusal:
            return refusal
    return None


def _outlives(not_after: int | None, expires: int) -> bool:
    return not_after is None or not_after > expires


def _outside_grant(
    record: Record, delegation: Record, chains: Mapping[Link, Chain], context: Context
) -> Refusal | None:
    """Refuse unless every policy the record cites is the delegation's grant, or narrows it step by step."""
    grant = delegation.body["grant"]
    granted = context.record(grant)
    for id, chain in chains.items():
        cited = context.record(id)
        if id == grant or cited is None or cited.kind != "policy":
            continue
        if granted is not None and granted.kind == "policy":
            wider = policy.widening(cited.body, granted.body)
            if wider:
                return _refuse("WIDENED", record, f"beyond the grant: {wider}", "act within the granted policy")
        if grant in chain.ids:
            continue
        if len(chain.ids) > DEFAULT.policy_chain:
            detail = f"more than {DEFAULT.policy_chain} policies lie behind policy {cid.short(id)}"
            return _refuse("GRANT", record, detail, "derive your policy from the granted one")
        if chain.whole:
            detail = f"policy {cid.short(id)} does not derive from the delegation's grant"
            return _refuse("GRANT", record, detail, "derive your policy from the granted one")
        if context.complete:
            return _refuse("RESOLVE", record, "the chain from its policy to the grant is not held here")
    return None


class Chain(NamedTuple):
    """The policies that lie behind one over policy edges, and whether all of them were at hand."""

    ids: frozenset[Link]
    whole: bool


def _chain(start: Link, context: Context) -> Chain:
    """Follow policy edges from `start` until none is left, or too many were met."""
    ids: set[Link] = set()
    todo = [start]
    whole = True
    while todo and len(ids) <= DEFAULT.policy_chain:
        held = context.record(todo.pop())
        if held is None:
            whole = False
            continue
        fresh = {edge.cid for edge in held.preds.get("policy", ())} - ids
        ids |= fresh
        todo.extend(sorted(fresh))
    return Chain(frozenset(ids), whole)


def rule_granted(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A policy that rests on a delegation is cited together with that delegation."""
    cited = record.preds.get("delegation", ())
    mend = "cite the delegation that granted it"
    for edge in record.preds.get("policy", ()):
        if edge[1] is None:
            held = context.record(edge[0])
            rests_on = None if held is None else held.preds.get("delegation")
            if rests_on and not {e.cid for e in rests_on} <= {e.cid for e in cited}:
                return _refuse("GRANT", record, "its policy rests on a delegation that it does not cite", mend)
        elif not cited and edge[1] != context.federation:
            return _refuse("GRANT", record, f"policy {cid.short(edge.cid)} of another agent without delegation", mend)
    return None


def rule_principal(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Acting for another agent needs a delegation by it."""
    principal = record.body.get("principal")
    if principal is None or principal == record.agent:
        return None
    if any(edge.agent == principal for edge in record.preds.get("delegation", ())):
        return None
    detail = f"{record.kind} for {cid.short(principal)} without a delegation by it"
    return _refuse("PRINCIPAL", record, detail, "cite that agent's delegation")


def rule_delegating(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A delegation passes on a policy that its author holds, to somebody else, and no further than it was allowed."""
    if record.kind != "delegation":
        return None
    body = record.body
    if body["delegate"] == record.agent:
        return _refuse("DELEGATE", record, "an agent cannot delegate to itself")
    if body["hops"] > DEFAULT.delegation_hops:
        return _refuse("HOPS", record, f"{body['hops']} further hops, the limit is {DEFAULT.delegation_hops}")
    if body["expires"] < record.time:
        return _refuse("EXPIRED", record, "it is expired when it is made")
    if all(edge.cid != body["grant"] for edge in record.preds.get("policy", ())):
        return _refuse("GRANT", record, "the grant is not among its policies", "cite the granted policy as `policy`")
    for edge in record.preds.get("delegation", ()):
        above = context.record(edge.cid)
        if above is None or above.kind != "delegation":
            continue
        if body["hops"] >= above.body["hops"]:
            return _refuse("HOPS", record, f"{body['hops']} further hops under a delegation of {above.body['hops']}")
        if body["expires"] > above.body["expires"]:
            return _refuse("EXPIRED", record, "it outlives the delegation that it passes on")
    return None


# --- bodies that mean something to the graph -----------------------------------------------------------------------


def rule_registration(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Keys are of a kind the manifest allows and well-formed; a peer registration names a peer and where it is."""
    if record.kind not in ("genesis", "registration"):
        return None
    body = record.body
    if body.get("purpose") == "peer":
        if body.keys() == {"purpose", "peer_id", "addresses"} and 0 < len(body["peer_id"]) <= 64:
            return None
        return _refuse("REGISTRATION", record, "a peer registration holds `peer_id` and `addresses` alone")
    if not {"alg", "key", "binding"} <= body.keys() or "peer_id" in body or "addresses" in body:
        return _refuse("REGISTRATION", record, "a signing key is registered by `alg`, `key` and `binding`")
    manifest = _manifest_in_force(record, context)
    if manifest is not None and body["alg"] not in manifest.envelope.signatures:
        return _refuse("REGISTRATION", record, f"algorithm {body['alg']} is not allowed by the manifest")
    if not signatures.check_public_key(body["alg"], body["key"]):
        return _refuse("REGISTRATION", record, "the public key is not one that may be trusted", "generate a fresh key")
    if context.federation not in body.get("federations", (context.federation,)):
        return _refuse("REGISTRATION", record, "a genesis for other federations")
    return None


def rule_target(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A verification cites the record that it is about as evidence."""
    if record.kind != "verification":
        return None
    if any(edge.cid == record.body["target"] for edge in record.preds.get("evidence", ())):
        return None
    return _refuse("TARGET", record, "its target is not among its evidence")


def rule_anchors(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A manifest can be enforced here, its anchors hold their keys, and an amendment is the next version."""
    if record.kind not in MANIFEST_KINDS:
        return None
    try:
        manifest = Manifest.from_record(record)
    except RecordError as error:
        return _refuse("ANCHORS", record, error.detail)
    if not manifest.proofs_hold():
        return _refuse("ANCHORS", record, "an anchor's proof of possession or share does not hold")
    if record.kind == "manifest":
        return None if manifest.version == 1 else _refuse("VERSION", record, "a root manifest is version 1")
    amended = record.preds["amends"]
    previous = context.manifest(amended[0].cid) if len(amended) == 1 else None
    if previous is None or record.manifest != previous.id:
        return _refuse("VERSION", record, "an amendment amends the one version it is made under")
    if manifest.version != previous.version + 1:
        return _refuse("VERSION", record, f"version {manifest.version} after {previous.version}")
    return None


# --- the log's end -------------------------------------------------------------------------------------------------


def rule_log(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The record continues its log: next position, previous id, tree root, time not going back."""
    tail = context.tail(record.owner)
    if tail is None:
        if record.seq == 0:
            return None
        return _refuse("SEQ", record, f"position {record.seq} of a log of which nothing is held")
    if record.seq < tail.size:
        return _refuse("FORK", record, f"position {record.seq} is taken by another record")
    if record.seq != tail.size:
        return _refuse("SEQ", record, f"position {record.seq}, the log ends at {tail.size}", "fetch what is between")
    if record.prev != tail.last:
        return _refuse("PREV", record, "`prev` is not the log's newest record")
    if record.log is None or record.log.root != tail.root:
        return _refuse("HEAD", record, "`log.root` is not the root of the log before it")
    if record.time < tail.time:
        return _refuse("TIME", record, f"its time {record.time} is before the previous record's {tail.time}")
    return None


def rule_rollback(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A log never goes back to an older manifest version than it has named, or holds itself."""
    tail = context.tail(record.owner)
    last = None if tail is None else context.record(tail.last)
    return None if last is None else rolled_back(last, record, context)


def rolled_back(before: Record, record: Record, context: Context) -> Refusal | None:
    """Refuse `record` if it goes back behind the manifest version in force at an earlier record of its log."""
    newest = before.id if before.kind in MANIFEST_KINDS else before.manifest
    named = record.manifest
    if named == newest or named is None or newest is None:
        return None
    old, new = context.manifest(newest), context.manifest(named)
    if old is None or new is None or old.version < new.version:
        return None
    detail = f"it is made under manifest version {new.version}, its log is at version {old.version} already"
    return _refuse("ROLLBACK", record, detail, "make it under the newest manifest version")


# --- keys and seals ------------------------------------------------------------------------------------------------


def rule_key(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """`key` names a key registered earlier in the same log; first records and federation logs name none."""
    if record.agent is None or record.agent == context.federation:
        if record.key is None:
            return None
        return _refuse("KEY", record, "a first record or a federation's record names no key")
    if record.key is None:
        return _refuse("KEY", record, "it names no key")
    key = context.key(record.key)
    if key is None:
        return _refuse("KEY", record, "the key it names is not registered here", "fetch the registration first")
    if key.owner != record.agent or key.seq >= record.seq:
        return _refuse("KEY", record, "the key it names is another agent's, or registered later")
    return None


def rule_seal(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The seal holds the signatures that the record's place demands, and no others."""
    try:
        parsed = parse_seal(seal)
    except SealError as error:
        return _refuse("SEAL", record, error.detail)
    wrong = _seal_fault(record, parsed, context)
    return _refuse("SEAL", record, wrong, "fetch the record and its seal from its author") if wrong else None


def _seal_fault(record: Record, seal: Seal, context: Context) -> str | None:
    entries = seal.signatures
    if record.kind == "manifest-amendment":
        old, new = context.manifest(record.preds["amends"][0].cid), Manifest.from_record(record)
        if old is None or not seal.many or len(entries) != 2:
            return "an amendment is sealed by the old and by the new anchors"
        return _anchors_fault(record, entries[0], old, old.id, True) or _anchors_fault(
            record, entries[1], new, record.id, True
        )
    if record.owner == context.federation:
        manifest = Manifest.from_record(record) if record.agent is None else _manifest_in_force(record, context)
        if manifest is None or seal.many or len(entries) != 1:
            return "a federation's record has one seal, by its anchors"
        return _anchors_fault(record, entries[0], manifest, manifest.id, False)
    if record.kind == "genesis":
        return _genesis_fault(record, seal, context)
    if seal.many or len(entries) != 1:
        return "an agent's record has one signature"
    key = context.key(record.key) if record.key is not None else None
    if key is None:
        return "the key is not at hand"
    return _signature_fault(record, entries[0], key.alg, key.public, key.record, False, context)


def _genesis_fault(record: Record, seal: Seal, context: Context) -> str | None:
    manifest = _manifest_in_force(record, context)
    if manifest is None:
        return "the manifest is not at hand"
    attested = manifest.envelope.genesis_anchors > 0
    entries = seal.signatures
    if seal.many != attested or len(entries) != (2 if attested else 1):
        return "the manifest asks for a genesis sealed by the agent" + (" and the anchors" if attested else " alone")
    body = record.body
    fault = _signature_fault(record, entries[0], body["alg"], body["key"], record.id, attested, context)
    if fault or not attested:
        return fault
    return _anchors_fault(record, entries[1], manifest, manifest.id, True)


def _signature_fault(
    record: Record, entry: Signature, alg: int, public: bytes, kid: Link, many: bool, context: Context
) -> str | None:
    if entry.alg != alg or entry.kid != kid or entry.bitmap is not None:
        return "the seal names another key or algorithm than the record"
    if context.signature_holds(alg, public, to_be_signed(record.data, alg, many=many), entry.value):
        return None
    return "the signature does not verify under the agent's key"


def _anchors_fault(record: Record, entry: Signature, manifest: Manifest, kid: Link, many: bool) -> str | None:
    anchors = manifest.anchors
    if entry.alg != anchors.scheme or entry.kid != kid:
        return "the seal names other anchors or another scheme than the manifest"
    message = to_be_signed(record.data, entry.alg, many=many)
    if anchors.verify(message, entry.value, entry.bitmap):
        return None
    return f"not sealed by {anchors.threshold} of the {len(anchors.members)} anchors"


STRUCTURE_RULES: Final[tuple[Rule, ...]] = (
    rule_issuer,
    rule_classes,
    rule_manifest,
    rule_hash,
    rule_fan_in,
    rule_clock,
    rule_edges,
    rule_cross_agent,
    rule_scope,
    rule_vocabulary,
    rule_narrowing,
    rule_delegation,
    rule_granted,
    rule_principal,
    rule_delegating,
    rule_registration,
    rule_target,
    rule_anchors,
    rule_key,
)
"""Rules of one record and its predecessors, in the order in which they run."""

LOG_RULES: Final[tuple[Rule, ...]] = (rule_log, rule_rollback)
"""Rules of the log's end, for records that are appended here."""

SEAL_RULES: Final[tuple[Rule, ...]] = (rule_seal,)
"""The dearest, and so the last."""

RULES: Final[tuple[Rule, ...]] = STRUCTURE_RULES + LOG_RULES + SEAL_RULES


SHAPE_RULES: Final[tuple[Rule, ...]] = (rule_issuer, rule_classes, rule_manifest, rule_hash)
"""Rules that judge alike all records of one `shape`."""

Concern = Callable[[Record, Context], bool]


def _kinds(*kinds: str) -> Concern:
    return lambda record, context: record.kind in kinds


def _classes(*classes: str) -> Concern:
    return lambda record, context: not record.preds.keys().isdisjoint(classes)


def _narrow_fan_in(record: Record, context: Context) -> bool:
    """The parser holds the widest bounds: at most `Limits.fan_in` edges, and no class without one."""
    manifest = _manifest_in_force(record, context)
    if manifest is None:
        return False
    return not record.preds or manifest.envelope.fan_in_min > 1 or manifest.envelope.fan_in_max < DEFAULT.fan_in


def _closed(record: Record, context: Context) -> bool:
    manifest = _manifest_in_force(record, context)
    return manifest is not None and manifest.envelope.cross_agent is not None


_CONCERNS: Final[dict[Rule, Concern]] = {
    rule_fan_in: _narrow_fan_in,
    rule_edges: lambda record, context: bool(record.preds),
    rule_cross_agent: _closed,
    rule_scope: lambda record, context: "policy" in record.preds or not _CLAIMS.isdisjoint(KINDS[record.kind].fields),
    rule_vocabulary: _kinds("policy"),
    rule_narrowing: _kinds("policy"),
    rule_delegation: _classes("delegation"),
    rule_granted: _classes("policy"),
    rule_principal: lambda record, context: "principal" in KINDS[record.kind].fields,
    rule_delegating: _kinds("delegation"),
    rule_registration: _kinds("genesis", "registration"),
    rule_target: _kinds("verification"),
    rule_anchors: _kinds(*MANIFEST_KINDS),
}
"""Which shapes a rule can refuse at all; it admits every record of any other shape."""


def shape(record: Record) -> tuple[object, ...]:
    """Return all that `SHAPE_RULES` and `rules_of_a_walk` look at: they need to run once for many records."""
    return (record.kind, record.manifest, record.agent, record.id[:4], *record.preds)


def rules_of_a_walk(record: Record, context: Context) -> tuple[Rule, ...]:
    """Return the rules that can refuse a record of this shape in a walk, without those of the shape itself.

    The rules of a log's end do not belong to a walk, which replaces them by proofs; the seal is judged on its own.
    """
    return tuple(
        rule
        for rule in STRUCTURE_RULES
        if rule not in SHAPE_RULES and (rule not in _CONCERNS or _CONCERNS[rule](record, context))
    )


def judge(record: Record, seal: bytes, context: Context, rules: Sequence[Rule] = RULES) -> Refusal | None:
    """Return the refusal of the first rule that the record breaks, or None. Later rules may rely on earlier ones."""
    for rule in rules:
        refusal = rule(record, seal, context)
        if refusal is not None:
            return refusal
    return None


def admit(record: Record, seal: bytes, context: Context) -> None:
    """Pass the record through every rule.

    Raises:
        Refusal: the code of the first rule broken, the record's id, what is wrong and what would mend it.
    """
    refusal = judge(record, seal, context)
    if refusal is not None:
        raise refusal
