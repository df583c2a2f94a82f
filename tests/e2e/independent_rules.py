"""The rules of docs/spec on one record and its predecessors, judged by a second program. Nothing from tslg."""

from __future__ import annotations

from base64 import b64decode, b64encode
from functools import cache
from hashlib import sha256

from cbor2 import dumps
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from independent_access import check_access, check_access_rule, peer_sets
from independent_anchoring import Note
from independent_attestation import check_attestation, check_hardware
from independent_confidential import check_commitments, check_proof, concerned
from independent_formats import Bad, Signature, hash_of, is_record_id, is_uint, read_seal
from independent_recording import check_holder, check_kept, check_recording, reading_peers
from independent_records import KINDS, Record
from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from py_ecc.bls import G2ProofOfPossession as bls
from py_ecc.bls.g2_primitives import pubkey_to_G1
from py_ecc.optimized_bls12_381 import Z1, add, curve_order, eq, multiply

THRESHOLD, MULTISIG, ED25519, ES256K, ML_DSA_65 = -70001, -70002, -19, -47, -49
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
VERSIONS = ("manifest", "manifest-amendment")
NAMES = {
    "corrections": ("policy", "correction-policy"),
    "cross_agent": ("peers", "peer-set"),
    "gc": ("policy", "gc-policy"),
}

bls_verify = cache(bls.Verify)
bls_possession = cache(bls.PopVerify)
bls_key = cache(bls.KeyValidate)


@cache
def bls_same_message(keys: tuple[bytes, ...], message: bytes, signature: bytes) -> bool:
    return bls.FastAggregateVerify(list(keys), message, signature)


def need(condition, code: str, detail: str = "") -> None:
    if not condition:
        raise Bad(code, detail)


# --- federation.md ---------------------------------------------------------------------------------------------------


def named(record: Record) -> list[tuple[str, bytes]]:
    """[FED-3]: the entries of an envelope that name a record, and which."""
    found = []
    for entry, (field, _) in NAMES.items():
        value = record.body["envelope"].get(entry)
        if type(value) is dict and is_record_id(value.get(field)):
            found.append((entry, value[field]))
    found.extend(("access", cid) for cid in peer_sets(record.body["envelope"].get("access")))  # [ACC-5]
    found.extend(("recording", cid) for cid in reading_peers(record.body["envelope"].get("recording")))  # [RCD-5]
    return found


def check_named(record: Record, held: dict[bytes, Record]) -> None:
    """[FED-3], [FED-4]"""
    for entry, cid in named(record):
        need(record.kind != "manifest", "TSLG-A-ENVELOPE", entry)
        other = held[cid]
        kind = "peer-set" if entry in ("access", "recording") else NAMES[entry][1]
        right = other.kind == kind and other.owner == record.owner and other.seq < record.seq
        need(right, "TSLG-A-ENVELOPE", entry)


def check_expiry(record: Record, manifest: Record) -> None:
    """[FED-8]"""
    governing = record if record.kind == "manifest-amendment" else manifest
    need(record.time <= governing.body.get("expires", record.time), "TSLG-A-MANIFEST-EXPIRED")


# --- manifest.md -----------------------------------------------------------------------------------------------------


def check_anchoring(value) -> None:
    """[ANC-9] and, for the keys, [CHK-7] and [CHK-11]."""
    bad = "TSLG-A-ANCHORS"
    if value == {}:
        return
    need(type(value) is dict and value.get("cadence") in ("record", "batch", "epoch"), bad, "cadence")
    epoch = {"epoch_ms"} if value["cadence"] == "epoch" else set()
    need(value.keys() == {"cadence", "witnesses", "quorum"} | epoch, bad, "anchoring")
    need(not epoch or (is_uint(value["epoch_ms"]) and value["epoch_ms"] >= 1000), bad, "epoch_ms")
    texts, quorum = value["witnesses"], value["quorum"]
    need(type(texts) is list and 1 <= len(texts) <= 64 and all(type(t) is str for t in texts), bad, "witnesses")
    need(texts == sorted(set(texts)), bad, "witnesses")
    need(is_uint(quorum) and 1 <= quorum <= len(texts), bad, "quorum")
    publics, named = set(), set()
    for text in texts:
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            key = b64decode(encoded, validate=True)
        except ValueError:
            raise Bad(bad, "witnesses") from None
        need(b64encode(key).decode() == encoded and name != "" and not set(name) & set(" \n\t"), bad, "witnesses")
        need((key[:1], len(key)) in ((b"\x04", 33), (b"\x06", 1313)), bad, "witnesses")
        need(sha256(name.encode() + b"\n" + key).hexdigest()[:8] == key_id, bad, "witnesses")
        need(key[:1] == b"\x06" or crypto_core_ed25519_is_valid_point(key[1:]), bad, "witnesses")
        publics.add(key[1:])
        named.add(name)
    need(len(publics) == len(named) == len(texts), bad, "witnesses")


def check_anchors(anchors: dict, bad: str, *, root: bool = False) -> None:
    """[MAN-4] to [MAN-9], but for names; of a root manifest as [MAN-15] says"""
    members, threshold = anchors["members"], anchors["threshold"]
    keys = tuple(member["key"] for member in members)
    need(anchors["scheme"] in (THRESHOLD, MULTISIG), bad, "scheme")
    need(len(set(keys)) == len(members), bad, "keys repeat")
    need(1 <= threshold <= len(members), bad, "threshold")
    need(all(len(key) == 48 and bls_key(key) for key in keys), bad, "a key")
    if not root or anchors["scheme"] != THRESHOLD:
        need(all(bls_possession(m["key"], m["possession"]) for m in members), bad, "possession")
    if anchors["scheme"] == MULTISIG:
        need(anchors["group_key"] is None, bad, "group key")
    else:
        group = anchors["group_key"]
        need(group is not None and len(group) == 48 and bls_key(group), bad, "group key")
        need(shares_fit(keys, threshold, group), bad, "shares")


def check_manifest(record: Record, amended: Record | None) -> None:
    """[MAN-4] to [MAN-12]; `amended` is the version that an amendment amends, if it is admitted."""
    anchors, envelope = record.body["anchors"], record.body["envelope"]
    bad = "TSLG-A-ANCHORS"
    need(len({member["name"] for member in anchors["members"]}) == len(anchors["members"]), bad, "names repeat")
    check_anchors(anchors, bad, root=record.kind == "manifest")
    check_envelope(envelope, anchors["threshold"])
    if record.kind == "manifest":
        need(record.body["version"] == 1, "TSLG-A-VERSION")
        return
    need(len(record.cited("amends")) == 1 and amended is not None, "TSLG-A-VERSION", "amends")
    need(record.manifest == amended.id and record.body["version"] == amended.body["version"] + 1, "TSLG-A-VERSION")


@cache
def shares_fit(keys: tuple[bytes, ...], threshold: int, group: bytes) -> bool:
    """[MAN-9]: position 0 is the group, position i + 1 member i; the first `threshold` members fix the polynomial."""
    points = {0: pubkey_to_G1(group)} | {i + 1: pubkey_to_G1(key) for i, key in enumerate(keys)}

    def value(at: int, known: list[int]):
        total = Z1
        for i in known:
            weight = 1
            for j in known:
                if i != j:
                    weight = weight * (at - j) * pow(i - j, -1, curve_order) % curve_order
            total = add(total, multiply(points[i], weight % curve_order))
        return total

    first = list(range(1, threshold + 1))
    if not all(eq(value(at, first), points[at]) for at in points if at not in first):
        return False
    lower = threshold - 1
    return lower == 0 or not eq(value(lower, list(range(lower))), points[lower])


def check_envelope(envelope: dict, threshold: int) -> None:
    """[MAN-10]"""
    known = {"hash", "address", "edges", "signatures", "post_quantum", "fan_in", "verify_depth", "cross_agent"}
    known |= {
        "genesis",
        "classes",
        "tiers",
        "clock_skew_ms",
        "corrections",
        "gc",
        "retention",
        "anchoring",
        "rotation",
        "redaction",
        "access",
        "recording",
    }
    bad = "TSLG-A-ANCHORS"
    need(envelope.keys() == known, bad, "envelope")
    hashes = ("sha2-256", "sha2-512", "sha3-256", "blake2b-256", "blake3")
    address = envelope["address"]
    if type(address) is dict:  # [HYB-1]
        need(address.keys() == {"hybrid"} and address["hybrid"] in hashes, bad, "address")
        need(address["hybrid"] != envelope["hash"], bad, "address")
    else:
        need(address in ("flat", "merkle"), bad, "address")
    need(envelope["edges"] in ("typed", "flat"), bad, "edges")
    need(envelope["hash"] in hashes, bad, "hash")
    need(envelope["signatures"] in ([ED25519], [ES256K], [ED25519, ES256K]), bad, "signatures")
    need(type(envelope["post_quantum"]) is bool, bad, "post_quantum")
    redaction = envelope["redaction"]
    if redaction != {}:
        need(type(redaction) is dict and redaction.keys() == {"by", "kinds"}, bad, "redaction")
        kinds = redaction["kinds"]
        need(redaction["by"] in ("author", "anchors") and type(kinds) is list, bad, "redaction")
        need(all(type(k) is str and k in KINDS for k in kinds) and kinds == sorted(set(kinds)), bad, "redaction")
    rotation = envelope["rotation"]
    if rotation != {}:
        need(type(rotation) is dict and rotation.keys() - {"hardware"} == {"anchors", "recovery"}, bad, "rotation")
        need(type(rotation["anchors"]) is type(rotation["recovery"]) is bool, bad, "rotation")
        need(rotation["anchors"] or not rotation["recovery"], bad, "rotation")
        if "hardware" in rotation:
            check_hardware(rotation["hardware"], bad)
    fan_in, cross, genesis = envelope["fan_in"], envelope["cross_agent"], envelope["genesis"]
    need(type(fan_in) is dict and fan_in.keys() == {"min", "max"} and all(map(is_uint, fan_in.values())), bad, "fan_in")
    need(fan_in["min"] == 1 <= fan_in["max"] <= 256, bad, "fan_in")
    depth, skew = envelope["verify_depth"], envelope["clock_skew_ms"]
    need(depth is None or (is_uint(depth) and depth >= 1), bad, "verify_depth")
    need(is_uint(skew) and skew <= 300_000, bad, "clock_skew_ms")
    need(type(genesis) is dict and genesis.keys() == {"anchors"}, bad, "genesis")
    need(is_uint(genesis["anchors"]) and genesis["anchors"] in (0, threshold), bad, "genesis")
    if cross != "open":
        need(type(cross) is dict and cross.keys() == {"kinds", "peers"}, bad, "cross_agent")
        need(cross["peers"] is None or is_record_id(cross["peers"]), bad, "peers")
        kinds = cross["kinds"]
        need(type(kinds) is list and all(type(k) is str and k in KINDS for k in kinds), bad, "cross_agent")
        need(kinds == sorted(set(kinds)), bad, "cross_agent")
    check_access(envelope["access"], genesis["anchors"] > 0)
    check_anchoring(envelope["anchoring"])
    need(envelope["anchoring"] == {} or -19 in envelope["signatures"], bad, "anchoring")
    retention = envelope["retention"]
    need(type(retention) is dict and all(k in KINDS and is_uint(v) for k, v in retention.items()), bad, "retention")
    check_recording(envelope)
    for name in ("corrections", "gc"):
        entry = envelope[name]
        need(entry == {} or (type(entry) is dict and entry.keys() == {"policy"}), bad, name)
        need(entry == {} or is_record_id(entry["policy"]), bad, name)
    for name in ("classes", "tiers"):
        entries = envelope[name]
        need(type(entries) is list and all(type(e) is str and 1 <= len(e) <= 256 for e in entries), bad, name)
        need(len(set(entries)) == len(entries) and (name == "tiers" or entries == sorted(entries)), bad, name)


# --- delegation.md ---------------------------------------------------------------------------------------------------


STEPS = {"composite", "decomposition", "inference", "rejection"}
EMPTY = sha256(b"\xa0").digest()


def check_step(record: Record, held: dict[bytes, Record], manifest: Record) -> None:
    """[INF-1], [INF-7] to [INF-9]"""
    if record.kind not in STEPS:
        return
    body, envelope = record.body, manifest.body["envelope"]
    if record.kind in ("inference", "composite"):
        need("class" in body or not envelope["classes"], "TSLG-A-STEP")
        need("tier" in body or not envelope["tiers"], "TSLG-A-STEP")
    need("before" in body or "after" not in body, "TSLG-A-STEP")
    own = [cid for name in ("prior", "part") for cid, agent in record.cited(name) if agent is None]
    if "before" not in body or not all(cid in held for cid in own):
        return
    cited = [held[cid].body for cid in own if held[cid].kind in STEPS]
    here = [other for other in cited if other.get("after") == body["before"]]
    moved = record.kind != "composite" and any("after" in other for other in cited)
    need(here or (body["before"] == EMPTY and not moved), "TSLG-A-STATE")
    if record.kind == "rejection" and "after" in body:
        need(body["stage"] == "anchoring" and any(x["before"] == body["after"] for x in here), "TSLG-A-STATE")


def check_policies(record: Record, held: dict[bytes, Record], manifest: Record) -> None:
    """[DEL-1] to [DEL-6]"""
    check_commitments(record)
    if not record.cited("policy"):
        need(not {"uses", "spends", "class", "tier"} & record.body.keys(), "TSLG-A-SCOPE")
    for cid, _ in record.cited("policy"):
        policy = held.get(cid)
        if policy is None or policy.kind != "policy":
            continue
        body = policy.body
        if record.kind != "rejection":  # [DEL-2], [INF-14]
            need(body["not_before"] is None or record.time >= body["not_before"], "TSLG-A-WINDOW")
            need(body["not_after"] is None or record.time <= body["not_after"], "TSLG-A-WINDOW")
            if concerned(record, policy):
                check_proof(record, policy, "TSLG-A-SCOPE")
            else:
                need(set(record.body.get("uses", ())) <= set(body["capabilities"]), "TSLG-A-SCOPE")
                for name, amount in record.body.get("spends", {}).items():
                    need(name in body["limits"] and amount <= body["limits"][name], "TSLG-A-SCOPE")
            need("class" not in record.body or record.body["class"] in body["classes"], "TSLG-A-SCOPE")
            need("tier" not in record.body or record.body["tier"] in body["tiers"], "TSLG-A-SCOPE")
    if record.kind == "policy":
        for name in ("classes", "tiers"):
            need(set(record.body[name]) <= set(manifest.body["envelope"][name]), "TSLG-A-VOCABULARY")
        for cid, _ in record.cited("policy"):
            need(cid not in held or narrower(record.body, held[cid].body), "TSLG-A-WIDENED")
            if cid in held and concerned(record, held[cid]):
                check_proof(record, held[cid], "TSLG-A-WIDENED")


def narrower(n: dict, w: dict) -> bool:
    """[DEL-5]; of confidential policies what is open in both [ZKN-22]"""
    hidden = "commitments" in n or "commitments" in w
    return (
        all(set(n[name]) <= set(w[name]) for name in ("classes", "tiers"))
        and (hidden or set(n["capabilities"]) <= set(w["capabilities"]))
        and (hidden or all(name in w["limits"] and n["limits"][name] <= w["limits"][name] for name in n["limits"]))
        and (w["not_before"] is None or (n["not_before"] is not None and n["not_before"] >= w["not_before"]))
        and (w["not_after"] is None or (n["not_after"] is not None and n["not_after"] <= w["not_after"]))
        and ("cedar" not in w or n.get("cedar") == w["cedar"])
    )


def check_delegations(record: Record, held: dict[bytes, Record], federation: bytes) -> None:
    """[DEL-8] to [DEL-16]"""
    cited = record.cited("delegation")
    for cid, _ in cited:
        if cid not in held:
            continue
        body = held[cid].body
        need(body["delegate"] == record.agent, "TSLG-A-DELEGATE")
        need(record.time <= body["expires"], "TSLG-A-EXPIRED")
        if record.kind == "policy":
            end = record.body["not_after"]
            need(end is not None and end <= body["expires"], "TSLG-A-EXPIRED")
        for policy, _ in record.cited("policy"):
            if policy == body["grant"] or policy not in held:
                continue
            if body["grant"] in held:
                need(narrower(held[policy].body, held[body["grant"]].body), "TSLG-A-WIDENED")
            need(reaches(policy, body["grant"], held) is not False, "TSLG-A-GRANT")
        if record.kind == "delegation":
            need(record.body["hops"] < body["hops"], "TSLG-A-HOPS")
            need(record.body["expires"] <= body["expires"], "TSLG-A-EXPIRED")
    for policy, agent in record.cited("policy"):
        if agent is None and policy in held:
            behind = {cid for cid, _ in held[policy].cited("delegation")}
            need(behind <= {cid for cid, _ in cited}, "TSLG-A-GRANT")
        elif agent not in (None, federation):
            need(cited, "TSLG-A-GRANT")
    principal = record.body.get("principal", record.agent)
    need(principal == record.agent or principal in {agent for _, agent in cited}, "TSLG-A-PRINCIPAL")
    if record.kind == "delegation":
        need(record.body["delegate"] != record.agent, "TSLG-A-DELEGATE")
        need(record.body["hops"] <= 32, "TSLG-A-HOPS")
        need(record.body["expires"] >= record.time, "TSLG-A-EXPIRED")
        need(record.body["grant"] in {cid for cid, _ in record.cited("policy")}, "TSLG-A-GRANT")


def reaches(policy: bytes, grant: bytes, held: dict[bytes, Record]) -> bool | None:
    """Whether policy edges lead from one to the other; None if a policy on the way is not at hand."""
    seen, todo, unknown = {policy}, [policy], False
    while todo:
        current = held.get(todo.pop())
        if current is None:
            unknown = True
            continue
        unknown = unknown or bool(current.cited("any"))  # [FLA-6]
        for cid, _ in current.cited("policy"):
            if cid == grant:
                return True
            if cid not in seen:
                seen.add(cid)
                todo.append(cid)
    return None if unknown else False


def check_answer(record: Record, held: dict[bytes, Record]) -> None:
    """[DEL-17] to [DEL-19]"""
    bad = "TSLG-A-ANSWER"
    answered, outcome = record.cited("answers"), record.body["outcome"]
    need(len(answered) == 1, bad)
    need(outcome not in ("refused", "failed") or record.body.get("reason"), bad)
    given = held.get(answered[0][0])
    if given is None:
        return
    need(given.body["delegate"] == record.agent, "TSLG-A-DELEGATE")
    others = [one for one in held.values() if one.kind == "answer" and one.owner == record.owner]
    need(not any(one.seq < record.seq and given.id in dict(one.cited("answers")) for one in others), bad)
    if outcome == "result":
        need(record.time <= given.body["expires"], "TSLG-A-EXPIRED")
        evidence = record.cited("evidence")
        need(len(evidence) == 1 and evidence[0][1] is None, bad)
        result = held.get(evidence[0][0])
        cited = {} if result is None else dict(result.cited("delegation") + result.cited("any"))
        need(result is None or given.id in cited, bad)


# --- corrections.md --------------------------------------------------------------------------------------------------

ACTS = {"correction": "corrects", "amendment": "amends", "retraction": "retracts"}


def may(
    record: Record, cid: bytes, agent, held: dict[bytes, Record], manifest: Record, federation: bytes
) -> bool | None:
    """[COR-2], [COR-3]; None if it cannot be told from what is held."""
    entry = manifest.body["envelope"]["corrections"]
    if entry == {}:
        return agent is None
    policy, target = held.get(entry["policy"]), held.get(cid)
    if policy is None or target is None:
        return None
    if policy.kind != "correction-policy" or policy.owner != federation:
        return False
    return any(
        ACTS[record.kind] in rule["acts"]
        and target.kind in rule["kinds"]
        and (rule["by"] == "anyone" or (agent is None if rule["by"] == "author" else record.owner in rule["by"]))
        for rule in policy.body["rules"]
    )


def check_in_force(record: Record, held: dict[bytes, Record], manifests: dict, federation: bytes) -> None:
    """[COR-5] to [COR-9]"""
    todo = [cid for name in ("policy", "delegation", "joint", "consensus") for cid, _ in record.cited(name)]
    if record.kind == "answer" and record.body["outcome"] == "result":  # [DEL-19]
        todo += [cid for cid, _ in record.cited("answers")]
    rests = set(todo)
    while todo:
        behind = held.get(todo.pop())
        if behind is not None and behind.kind in ("policy", "delegation"):
            fresh = {cid for name in ("policy", "delegation") for cid, _ in behind.cited(name)} - rests
            rests |= fresh
            todo += fresh
    enders = [other for other in held.values() if other.kind in ("answer", "policy", "retraction")]
    for other in enders:
        for name, cid, agent in other.edges:
            if cid not in rests or name not in ("amends", "answers", "retracts") or cid not in held:
                continue
            manifest = manifests.get(other.manifest)
            own = other.kind == "policy" and held[cid].owner == other.owner
            own = own or (other.kind == "answer" and held[cid].body["delegate"] == other.owner)  # [DEL-20]
            if own or (other.kind == "retraction" and manifest and may(other, cid, agent, held, manifest, federation)):
                need(not in_past(other, record, held), "TSLG-A-SUPERSEDED")


def in_past(other: Record, record: Record, held: dict[bytes, Record]) -> bool:
    """[COR-7]"""
    if other.owner == record.owner:
        return other.seq < record.seq
    own = [one for one in held.values() if one.owner == record.owner and one.seq <= record.seq]
    return any(cid == other.id for one in [record, *own] for _, cid, _ in one.edges)


# --- together.md -----------------------------------------------------------------------------------------------------


def check_joint(record: Record, held: dict[bytes, Record], envelope: dict) -> None:
    """[TOG-6] to [TOG-11]"""
    bad, body = "TSLG-A-JOINT", record.body
    signers, group = body["signers"], body.get("group")
    need(1 <= body["threshold"] <= len(signers), bad)
    for signer in signers:
        holder = held[signer["key"]]
        need(holder.kind == "genesis" or holder.body.get("purpose") == "signing", bad)
        need(holder.owner == signer["agent"] and holder.body["alg"] in envelope["signatures"], bad)
    if group is None:
        return
    keys = {signer["agent"]: held[signer["key"]].body for signer in signers}
    need(sorted(member["agent"] for member in group["members"]) == list(keys), bad)
    check_anchors(group | {"threshold": body["threshold"]}, bad)
    for member in group["members"]:
        fields = [member["agent"], group["scheme"], body["threshold"], member["key"], group["group_key"]]
        key, message = keys[member["agent"]], dumps(["tslg.joint.member.v1", *fields])
        need(signed_by_key(Signature(key["alg"], b"", member["consent"], None, message), key["key"]), bad)


def check_bearer(record: Record, held: dict[bytes, Record]) -> None:
    """[TOG-13]"""
    for cid, _ in record.cited("joint"):
        if cid in held and held[cid].kind == "joint-authorization":
            body = held[cid].body
            need(body["expires"] is None or record.time <= body["expires"], "TSLG-A-EXPIRED")
            given = body.get("bearers", [held[cid].owner, *(signer["agent"] for signer in body["signers"])])
            need(record.owner in given, "TSLG-A-JOINT")


def check_joint_seal(record: Record, many: bool, rest: list[Signature], held: dict[bytes, Record]) -> None:
    """[TOG-9], [TOG-10], of what stands behind the author's own"""
    bad, body = "TSLG-A-SEAL", record.body
    need(many, bad)
    group = body.get("group")
    if group is not None:
        need(len(rest) == 1 and rest[0].kid == record.id, bad)
        need(signed_by(rest[0], group | {"threshold": body["threshold"]}), bad)
        return
    places = [signer["key"] for signer in body["signers"]]
    need(all(entry.kid in places for entry in rest), bad)
    order = [places.index(entry.kid) for entry in rest]
    need(order == sorted(set(order)) and record.key not in [entry.kid for entry in rest], bad)
    need(len(rest) + (record.key in places) >= body["threshold"], bad)
    for entry in rest:
        holder = held[entry.kid].body
        need(entry.alg == holder["alg"] and entry.bitmap is None and signed_by_key(entry, holder["key"]), bad)


def check_consensus(record: Record, held: dict[bytes, Record]) -> None:
    """[TOG-1] to [TOG-5]"""
    bad, body = "TSLG-A-CONSENSUS", record.body
    proposal, electorate, threshold = body["proposal"], body["electorate"], body["threshold"]
    evidence = dict(record.cited("evidence"))
    need(1 <= threshold <= len(electorate) and proposal in evidence, bad)
    terms = held[proposal].body.get("terms") if proposal in held else None
    need(terms in (None, {"electorate": electorate, "threshold": threshold}), bad)
    del evidence[proposal]
    voters = [agent or record.owner for agent in evidence.values()]
    need(set(voters) <= set(electorate) and len(set(voters)) == len(voters), bad)
    votes = [held[cid] for cid in evidence if cid in held]
    for vote in votes:
        need("vote" in vote.body and vote.body["vote"]["proposal"] == proposal, bad)
        need(proposal in {cid for cid, _ in vote.cited("evidence")}, bad)
    against = [vote for vote in votes if vote.body["vote"]["choice"] != "for"]
    need(len(voters) - len(against) >= threshold, bad)


# --- admission.md ----------------------------------------------------------------------------------------------------


def check_record(record: Record, held: dict[bytes, Record], manifests: dict, federation: bytes, now: int) -> None:
    """[ADM-4] to [ADM-21], for a verification."""
    kind = KINDS[record.kind]
    need(("federation" if record.owner == federation else "agent") in kind.logs, "TSLG-A-ISSUER")
    classes = {name for name, _, _ in record.edges}
    manifest = record if record.id == federation else manifests.get(record.manifest)
    need(manifest is not None, "TSLG-A-MANIFEST")
    wanted = manifest.body["envelope"].get("edges") == "flat" and record.owner != federation
    need(not classes or record.flat == wanted, "TSLG-A-EDGES")  # [FLA-1]
    need("any" in classes or kind.mandatory <= classes <= kind.allowed, "TSLG-A-CLASSES")
    if record.kind == "manifest" or record.kind == "manifest-amendment":
        amended = manifests.get(record.cited("amends")[0][0]) if record.kind == "manifest-amendment" else None
        check_manifest(record, amended)
    envelope = manifest.body["envelope"]
    two = type(envelope["address"]) is dict and record.kind != "manifest"  # [HYB-1]
    ids = f"{envelope['hash']}+{envelope['address']['hybrid']}" if two else envelope["hash"]
    need(hash_of(record.id) == ids, "TSLG-A-HASH")
    commits = envelope["address"] == "merkle" and bool(kind.committed)  # [MRK-1]
    need(commits == (record.root_of_fields is not None), "TSLG-A-ADDRESS")
    need(kind.first or envelope["fan_in"]["min"] <= len(record.edges) <= envelope["fan_in"]["max"], "TSLG-A-FAN-IN")
    need(record.time <= now + envelope["clock_skew_ms"], "TSLG-A-CLOCK")
    check_expiry(record, manifest)
    for edge in record.edges:
        check_edge(record, edge, held, envelope, federation)
    check_peers(record, held, envelope, federation)
    if "any" not in classes:  # [FLA-5]
        check_by_class(record, held, manifests, manifest, federation)
    if record.kind in ("genesis", "registration"):
        check_registration(record, envelope, federation)
    if record.kind == "revocation":
        check_revocation(record, held)
    if record.kind in VERSIONS:
        check_named(record, held)
    check_key(record, held, envelope, federation)


def check_by_class(record: Record, held: dict[bytes, Record], manifests: dict, manifest: Record, federation) -> None:
    """[ADM-15] to [ADM-18], [ADM-20]"""
    envelope = manifest.body["envelope"]
    if "checkpoint" in record.body:
        check_checkpoint(record, held)
    check_policies(record, held, manifest)
    check_delegations(record, held, federation)
    if record.kind == "answer":
        check_answer(record, held)
    check_in_force(record, held, manifests, federation)
    if record.kind in ACTS:
        fine = [may(record, cid, agent, held, manifest, federation) for cid, agent in record.cited(ACTS[record.kind])]
        need(False not in fine, "TSLG-A-CORRECTION")
    if record.kind == "consensus":
        check_consensus(record, held)
    check_bearer(record, held)
    if record.kind == "joint-authorization":
        check_joint(record, held, envelope)
    if record.kind == "redaction":
        check_redaction(record, held, envelope, federation)
    check_kept(record, envelope)
    check_step(record, held, manifest)
    if record.kind == "access-rule":
        check_access_rule(record, held, envelope, federation)
    check_pruning(record, held, envelope)
    check_artifacts(record, held)
    if record.kind == "verification":
        need(record.body["target"] in {cid for cid, _ in record.cited("evidence")}, "TSLG-A-TARGET")
        check_verification(record, held)


def check_checkpoint(record: Record, held: dict[bytes, Record]) -> None:
    """[ANC-16]"""
    bad = "TSLG-A-CHECKPOINT"
    try:
        note = Note(record.body["checkpoint"])
    except ValueError:
        raise Bad(bad) from None
    cited = [(cid, agent) for cid, agent in record.cited("evidence") if agent is not None and note.of(agent)]
    need(cited and note.size > 0, bad)
    last = [held[cid] for cid, _ in cited if cid in held and held[cid].seq == note.size - 1]
    if not last:
        need(any(cid not in held for cid, _ in cited), bad)
        return
    key = held.get(last[0].key if last[0].key is not None else last[0].id)
    holders = [key, *([last[0]] if last[0].kind == "registration" else [])]
    keys = [one.body["key"] for one in holders if one is not None and "key" in one.body]
    need(any(map(note.signed_by, keys)), bad)


def check_redaction(record: Record, held: dict[bytes, Record], envelope: dict, federation: bytes) -> None:
    """[RED-1] to [RED-3]"""
    bad, body, allowed = "TSLG-A-REDACTION", record.body, envelope["redaction"]
    whose = [agent for cid, agent in record.cited("evidence") if cid == body["target"]]
    need(whose and (body["fields"] or body["blobs"]), bad)
    need(record.owner == federation if allowed.get("by") == "anchors" else whose == [None], bad)
    target = held.get(body["target"])
    if target is not None:
        need(not allowed or target.kind in allowed["kinds"], bad)
        least = envelope["retention"].get(target.kind)
        need(least is None or target.time + least <= record.time, bad)
        names = [] if target.root_of_fields is None else KINDS[target.kind].committed
        need(set(body["fields"]) <= set(names), bad)


def check_verification(record: Record, held: dict[bytes, Record]) -> None:
    """[VRF-1], [VRF-2]"""
    body, bad = record.body, "TSLG-A-VERIFICATION"
    agents = [entry["agent"] for entry in body["frontier"]]
    need(body["depth"] is None or body["edges"] <= body["depth"], bad, "edges")
    need(body["records"] <= body["edges"] + 1 and agents == sorted(set(agents)), bad, "records or frontier")
    if body["verdict"] == "valid":
        need(body["records"] > 0 and (body["depth"] is not None or not agents or "relied" in body), bad, "valid")
    relied = set(body.get("relied", ()))
    need(relied <= {cid for cid, _ in record.cited("evidence")} - {body["target"]}, bad, "relied")
    for other in (held[cid] for cid in relied if cid in held):
        need(other.kind == "verification" and other.body["verdict"] == "valid", bad, "relied")
    for cid, _ in record.cited("counters"):
        other = held.get(cid)
        need(other is None or other.kind != "verification" or other.body["target"] == body["target"], bad, "counters")
    for entry in body["frontier"]:
        other = held.get(entry["record"])
        need(other is None or (other.owner, other.seq) == (entry["agent"], entry["size"]), bad, "frontier")
        need(other is None or other.root == entry["root"], bad, "frontier")


def check_edge(record: Record, edge, held: dict[bytes, Record], envelope: dict, federation: bytes) -> None:
    """[ADM-11] to [ADM-14]"""
    name, cid, agent = edge
    log, kinds, field = KINDS[record.kind].leads[name]
    need(log == "any" or (log == "own") == (agent is None), "TSLG-A-EDGE-KIND")
    cited = held.get(cid)
    if cited is None:
        return
    if agent is None:
        need(cited.owner == record.owner, "TSLG-A-EDGE-OWNER")
        need(cited.seq < record.seq, "TSLG-A-EDGE-ORDER")
    else:
        need(cited.owner == agent != record.owner, "TSLG-A-EDGE-OWNER")
    need(kinds is None or cited.kind in kinds, "TSLG-A-EDGE-KIND")
    need(field is None or field in cited.body, "TSLG-A-EDGE-KIND")
    if agent not in (None, federation) and envelope["cross_agent"] != "open":
        need(cited.kind in envelope["cross_agent"]["kinds"], "TSLG-A-CROSS-AGENT")


def check_peers(record: Record, held: dict[bytes, Record], envelope: dict, federation: bytes) -> None:
    """[FED-6]"""
    if envelope["cross_agent"] == "open" or envelope["cross_agent"]["peers"] is None:
        return
    members = held[envelope["cross_agent"]["peers"]].body["members"]
    for _, _, agent in record.edges:
        need(agent in (None, federation) or agent in members, "TSLG-A-CROSS-AGENT")


def check_registration(record: Record, envelope: dict, federation: bytes) -> None:
    """[ADM-19]"""
    body, bad = record.body, "TSLG-A-REGISTRATION"
    if body.get("purpose") == "peer":
        need(body.keys() == {"purpose", "peer_id", "addresses"} and 1 <= len(body["peer_id"]) <= 64, bad)
        return
    need({"alg", "key", "binding"} <= body.keys() and not {"peer_id", "addresses"} & body.keys(), bad)
    need(body["alg"] in envelope["signatures"] and good_key(body["alg"], body["key"]), bad)
    beside = body.get("post_quantum")
    need((beside is not None) == envelope["post_quantum"], bad)
    need(beside is None or (beside["alg"] == ML_DSA_65 and good_key(ML_DSA_65, beside["key"])), bad)
    need(federation in body.get("federations", (federation,)), bad)
    check_attestation(body, envelope["rotation"], record.time)


def registers(record: Record) -> bool:
    """[KEY-1]"""
    return record.kind == "genesis" or (record.kind == "registration" and record.body["purpose"] == "signing")


def check_revocation(record: Record, held: dict[bytes, Record]) -> None:
    """[KEY-7], but for what earlier revocations say"""
    bad, holder, start = "TSLG-A-REVOCATION", held.get(record.body["key"]), record.body["from_seq"]
    if holder is None:
        return
    need(holder.kind in ("genesis", "registration") and holder.owner == record.agent and holder.seq < record.seq, bad)
    need(start >= record.seq and (start > record.seq or record.key != holder.id), bad)


PRUNABLE = {"action", "composite", "consensus", "decision", "decomposition", "delegation", "evaluation", "inference"}
PRUNABLE |= {"joint-authorization", "observation", "policy", "rejection", "state", "verification"}


LIVES = {
    "source": "shadow retired revoked",
    "candidate": "shadow rejected retired revoked",
    "shadow": "canary rejected retired revoked",
    "canary": "champion rejected rolled-back retired revoked",
    "champion": "standby rolled-back retired revoked",
    "standby": "champion retired revoked",
    "rolled-back": "rejected retired revoked",
    "rejected": "archived revoked",
    "retired": "archived revoked",
    "revoked": "archived",
}


def check_artifacts(record: Record, held: dict[bytes, Record]) -> None:
    """[ART-5] to [ART-14], without what admission alone can see of the log."""
    body, kind = record.body, record.kind
    evidence = {cid for cid, _ in record.cited("evidence")}

    def passed(target: bytes, *names: str) -> bool:
        found = {name for cid in evidence & held.keys() for name in _passed(held[cid], target)}
        return found.issuperset(names) or not evidence <= held.keys()

    if kind == "artifact":
        parents = [cid for cid, _ in record.cited("parent")]
        need(body["lifecycle"] in ("candidate", "source"), "TSLG-A-ARTIFACT")
        need(body["lifecycle"] != "source" or not parents, "TSLG-A-ARTIFACT")
        need(body["package"]["media_type"] == "application/vnd.tslg.package", "TSLG-A-ARTIFACT")
        need(body.get("cohort") in evidence | {None}, "TSLG-A-ARTIFACT")
        if "training_data" in body:
            fits = [cid not in held or held[cid].body["package"]["digest"] == body["training_data"] for cid in parents]
            need(any(fits), "TSLG-A-ARTIFACT")
    bad = {"evaluation": "EVALUATION", "advisory": "EVALUATION", "transition": "TRANSITION", "release": "RELEASE"}
    if kind not in bad:
        return
    code, target = f"TSLG-A-{bad[kind]}", body["target"]
    need(target in evidence and (target not in held or held[target].kind == "artifact"), code)
    if kind == "evaluation":
        need(not set(body["passed"]) & set(body["failed"]), code)
        need("resolves" not in body or body["passed"] != [], code)
        need(target not in held or held[target].body["package"]["digest"] == body["package"], code)
    if kind == "advisory":
        need(any(body[name] for name in ("restrictions", "vulnerabilities", "withdrawn")), code)
    after = body.get("after")
    if after is not None:
        need((after, None) in record.cited("evidence"), code)
        subject = "alias" if kind == "release" else "target"
        if after in held:
            need(held[after].kind == kind and held[after].body[subject] == body[subject], code)
    if kind == "transition":
        need(body["to"] in LIVES.get(body["from"], "").split(), code)
        before = held.get(target if after is None else after)
        need(before is None or before.body["lifecycle" if after is None else "to"] == body["from"], code)
        need(body["to"] not in ("canary", "champion") or passed(target, "safety", "compatibility"), code)
    if kind == "release" and "rollback" in body:
        back = body["rollback"]
        need(back != target and back in evidence and (back not in held or held[back].kind == "artifact"), code)
        need(passed(back, "compatibility"), code)


def _passed(record: Record, target: bytes) -> list[str]:
    return record.body["passed"] if record.kind == "evaluation" and record.body["target"] == target else []


def check_pruning(record: Record, held: dict[bytes, Record], envelope: dict) -> None:
    """[PRN-3] to [PRN-5], [SUM-2]"""
    body = record.body
    if record.kind == "gc-policy":
        need({*body["kinds"], *body.get("summarised", ())} <= PRUNABLE, "TSLG-A-PRUNE")
    if record.kind == "prune":
        policies, lasts = record.cited("policy"), record.cited("evidence")
        need(envelope["gc"] != {} and [cid for cid, _ in policies] == [envelope["gc"]["policy"]], "TSLG-A-PRUNE")
        need(0 < body["count"] < body["before"] <= record.seq and len(lasts) == 1, "TSLG-A-PRUNE")
        last, policy = held.get(lasts[0][0]), held.get(policies[0][0])
        if last is not None:
            need((last.owner, last.seq) == (record.owner, body["before"] - 1), "TSLG-A-PRUNE")
            need(policy is None or last.time + policy.body["horizon_ms"] <= record.time, "TSLG-A-PRUNE")
    if record.kind == "summary":
        first, final = body["first"], body["last"]
        need(first <= final < record.seq, "TSLG-A-SUMMARY")
        for cid, agent in record.cited("part"):
            need(agent is None, "TSLG-A-SUMMARY")
            need(cid not in held or first <= held[cid].seq <= final, "TSLG-A-SUMMARY")


def check_key(record: Record, held: dict[bytes, Record], envelope: dict, federation: bytes) -> None:
    """[ADM-22], [KEY-4], [KEY-6]"""
    if record.agent in (None, federation):
        need(record.key is None, "TSLG-A-KEY")
        return
    if record.key is None:
        need(registers(record) and envelope["rotation"].get("recovery"), "TSLG-A-KEY")
        return
    holder = held.get(record.key)
    need(holder is not None and registers(holder), "TSLG-A-KEY")
    need(holder.owner == record.agent and holder.seq < record.seq, "TSLG-A-KEY")
    fits = holder.body["alg"] in envelope["signatures"] and (
        "post_quantum" in holder.body or not envelope["post_quantum"]
    )
    if envelope["rotation"].get("hardware", {}).get("required"):  # [ATS-5]
        fits = fits and holder.body["binding"] == "hardware"
    need(fits or registers(record), "TSLG-A-SUITE")
    check_holder(record, holder, envelope)


# --- seal.md ---------------------------------------------------------------------------------------------------------


def ed25519_key(key: bytes) -> bool:
    """[SEA-17]"""
    return len(key) == 32 and crypto_core_ed25519_is_valid_point(key)


def check_seal(record: Record, data: bytes, held: dict[bytes, Record], manifests: dict, federation: bytes) -> None:
    """[SEA-9] to [SEA-16]"""
    many, entries = read_seal(data, record.data)
    bad = "TSLG-A-SEAL"
    manifest = record if record.id == federation else manifests[record.manifest]
    if record.kind == "manifest-amendment":
        expected = [manifests[record.cited("amends")[0][0]], record]
    elif record.owner == federation:
        expected = [manifest]
    else:
        expected = agents_seal(record, manifest, held, federation)
    if record.kind == "joint-authorization":
        check_joint_seal(record, many, entries[len(expected) :], held)
        entries = entries[: len(expected)]
    else:
        need(many == (len(expected) > 1), bad, "form")
    need(len(entries) == len(expected), bad, "number of signatures")
    for entry, who in zip(entries, expected, strict=True):
        if who is None:  # [FED-13]
            need(entry.alg in (THRESHOLD, MULTISIG) and hash_of(entry.kid), bad, "another federation")
            need((entry.bitmap is not None) == (entry.alg == MULTISIG), bad, "another federation")
        elif isinstance(who, Record):
            need(entry.kid == who.id and signed_by_anchors(entry, who), bad, "anchors")
        else:
            kid, key = who
            need(entry.kid == kid and entry.alg == key["alg"] and entry.bitmap is None, bad, "key")
            need(signed_by_key(entry, key["key"]), bad, "signature")


def agents_seal(record: Record, manifest: Record, held: dict[bytes, Record], federation: bytes) -> list:
    """Whose signatures an agent's record bears: (kid, key) or the manifest whose anchors sign. [SEA-9] to [SEA-11]"""
    envelope = manifest.body["envelope"]
    holder = record if record.key is None else held[record.key]
    expected: list = [(holder.id, holder.body)]
    if envelope["post_quantum"]:
        second = holder if "post_quantum" in holder.body else record
        expected.append((second.id, second.body["post_quantum"]))
    federations = record.body.get("federations", ()) if record.kind == "genesis" else ()
    if len(federations) > 1:  # [FED-12]
        return expected + [manifest if one == federation else None for one in federations]
    if record.kind == "genesis":
        by_anchors = envelope["genesis"]["anchors"] > 0
    else:
        by_anchors = envelope["rotation"].get("anchors") and (registers(record) or record.kind == "revocation")
    return [*expected, manifest] if by_anchors else expected


def good_key(alg: int, key: bytes) -> bool:
    """[SEA-17], [SEA-22], [SEA-24]"""
    if alg == ML_DSA_65:
        return len(key) == 1_952 and any(key[32:])
    return ed25519_key(key) if alg == ED25519 else secp256k1_key(key) is not None


def secp256k1_key(key: bytes) -> EllipticCurvePublicKey | None:
    """OpenSSL's form of a compressed point, where tslg has libsecp256k1's. [SEA-22]"""
    if len(key) != 33 or key[0] not in (2, 3):
        return None
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256K1(), key)
    except ValueError:
        return None


def signed_by_key(entry: Signature, key: bytes) -> bool:
    """[SEA-18], [SEA-23], [SEA-25]: libsodium and OpenSSL decide so, once keys and ranges are checked."""
    try:
        if entry.alg == ED25519:
            VerifyKey(key).verify(entry.signed, entry.value)
        elif entry.alg == ML_DSA_65:
            MLDSA65PublicKey.from_public_bytes(key).verify(entry.value, entry.signed)
        else:
            r, s = int.from_bytes(entry.value[:32], "big"), int.from_bytes(entry.value[32:], "big")
            point = secp256k1_key(key)
            if point is None or len(entry.value) != 64 or not 1 <= s <= (SECP256K1_ORDER - 1) // 2:
                return False
            point.verify(encode_dss_signature(r, s), entry.signed, ECDSA(SHA256()))
    except (BadSignatureError, InvalidSignature, ValueError):
        return False
    return good_key(entry.alg, key)


def signed_by_anchors(entry: Signature, manifest: Record) -> bool:
    """[SEA-15], [SEA-20], [SEA-21]"""
    return signed_by(entry, manifest.body["anchors"])


def signed_by(entry: Signature, anchors: dict) -> bool:
    if entry.alg != anchors["scheme"] or len(entry.value) != 96:
        return False
    if entry.alg == THRESHOLD:
        return entry.bitmap is None and bls_verify(anchors["group_key"], entry.signed, entry.value)
    keys, bitmap = [member["key"] for member in anchors["members"]], entry.bitmap
    if bitmap is None or len(bitmap) != (len(keys) + 7) // 8:
        return False
    signers = [i for i in range(8 * len(bitmap)) if bitmap[i // 8] >> i % 8 & 1]
    if len(signers) < anchors["threshold"] or signers[-1] >= len(keys):
        return False
    return bls_same_message(tuple(keys[i] for i in signers), entry.signed, entry.value)
