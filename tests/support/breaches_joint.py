"""Joint authorisations that were not given, or not to whoever acts on them."""

from __future__ import annotations

from breach import NOWHERE, breaks
from world import NOW, sign, source

from tslg.manifests import bls, threshold
from tslg.protocol import seal as seals
from tslg.protocol.chains import JOINT
from tslg.protocol.rules.joint import consent_message, group_of, rule_bearer, rule_joint
from tslg.protocol.rules.seals import rule_seal
from tslg.protocol.seal import Signature, to_be_signed
from tslg.protocol.signatures import Alg, ed25519_secret, ed25519_sign

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


def signers(w, count=3):
    """The scene's agents and further ones, in the order in which a record names them."""
    authors = [w.a, w.b, *(w.agent(f"signer {n}") for n in range(count - 2))]
    return sorted(authors, key=lambda author: author.owner)


def body_of(authors, needed=2, **fields):
    listed = [{"agent": author.owner, "key": author.key} for author in authors]
    return {"name": "launch", "signers": listed, "threshold": needed, "expires": None, **fields}


def drafted(w, body, author=None):
    """The next record of an author's log (by default of one who is no signer), not sealed."""
    author = author or w.agent("clerk")
    policy = w.add(author, "policy")
    return author, w.make(author, JOINT, body, {"policy": [policy]})


def by(record, author):
    return sign(record, author.keys[author.key], author.key, True)


def sealed(record, author, authors):
    return record, seals.encode([by(record, one) for one in (author, *authors)], many=True)


def given(w, needed=2, count=3, **fields):
    """A joint authorisation by the first `needed` of `count` signers, admitted."""
    authors = signers(w, count)
    author, record = drafted(w, body_of(authors, needed, **fields))
    w.admit(*sealed(record, author, authors[:needed]), author)
    return record, authors


# --- groups that sign by BLS ------------------------------------------------------------------------------------------


def shares(count, needed, scheme):
    """Secret keys of members, and the group's key: of a polynomial, or each for itself."""
    take = source("group")
    coefficients = [int.from_bytes(take(32), "big") % ORDER for _ in range(needed)]
    if scheme == Alg.BLS_MULTISIG:
        return [scalar(coefficients[0] + 7 * i) for i in range(count)], None
    secrets = [scalar(sum(c * (i + 1) ** n for n, c in enumerate(coefficients))) for i in range(count)]
    return secrets, bls.public_key(scalar(coefficients[0]))


def scalar(number):
    return (number % ORDER).to_bytes(32, "big")


def grouped(w, scheme=Alg.BLS_THRESHOLD, needed=2, count=3, change=None):
    """The authors of a group, their secret keys, and the body that names them."""
    authors = signers(w, count)
    secrets, group_key = shares(count, needed, scheme)
    # The ceremony's order is its own: member i holds the share at i + 1, whatever its agent's id.
    order = authors[1:] + authors[:1]
    members = [
        {"agent": author.owner, "key": bls.public_key(one), "possession": bls.prove_possession(one), "consent": b""}
        for author, one in zip(order, secrets, strict=True)
    ]
    body = body_of(authors, needed, group={"scheme": int(scheme), "members": members, "group_key": group_key})
    group = group_of(body)
    for index, author in enumerate(order):
        message = consent_message(author.owner, group, index)
        members[index]["consent"] = ed25519_sign(ed25519_secret(author.keys[author.key].seed), message)
    if change is not None:
        change(body)
    return authors, secrets, body


def by_group(record, secrets, who, kid=None):
    """The entry of those members of a record's group whose indices are given."""
    group = group_of(record.body)
    message = to_be_signed(record.data, group.scheme, many=True)
    partials = {index: threshold.partial_sign(secrets[index], message) for index in who}
    if group.scheme == Alg.BLS_MULTISIG:
        value, bitmap = threshold.combine_multisig(partials, len(secrets))
        return Signature(group.scheme, kid or record.id, value, bitmap)
    keys = [member.key for member in group.members]
    return Signature(group.scheme, kid or record.id, threshold.combine(partials, len(partials), keys, message))


def group_sealed(w, who=(0, 2), **how):
    _, secrets, body = grouped(w, **how)
    author, record = drafted(w, body)
    return record, seals.encode([by(record, author), by_group(record, secrets, who)], many=True)


# --- who signs --------------------------------------------------------------------------------------------------------


@breaks(rule_joint, "JOINT", "a threshold of 4 of 3", alone=False)
def more_signatures_than_there_are_signers(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors, 4))
    return sealed(record, author, authors)


@breaks(rule_joint, "JOINT", "a threshold of 0 of 3")
def nobodys_authorisation(w):
    author, record = drafted(w, body_of(signers(w), 0))
    return sealed(record, author, [])


@breaks(rule_joint, "JOINT", "is another agent's")
def a_key_of_another_agent(w):
    authors = signers(w)
    body = body_of(authors)
    body["signers"][0]["key"] = authors[1].key
    author, record = drafted(w, body)
    return sealed(record, author, authors[1:])


@breaks(rule_joint, "JOINT", "is another agent's")
def a_key_of_an_agent_listed_before(w):
    authors = signers(w)
    body = body_of(authors)
    body["signers"][1]["key"] = authors[0].key
    author, record = drafted(w, body)
    return sealed(record, author, [authors[0], authors[2]])


@breaks(rule_joint, "RESOLVE", "is not held here", alone=False)
def a_key_that_nobody_has(w):
    authors = signers(w)
    body = body_of(authors)
    body["signers"][0]["key"] = NOWHERE
    author, record = drafted(w, body)
    return sealed(record, author, authors[1:])


@breaks(rule_seal, "SEAL", "1 of 2 signers signed")
def too_few_signers(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors))
    return sealed(record, author, authors[:1])


@breaks(rule_seal, "SEAL", "who is not among its signers")
def a_stranger_among_the_signers(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors))
    return sealed(record, author, [*authors[:2], w.agent("stranger")])


@breaks(rule_seal, "SEAL", "in their order, once each")
def one_who_signs_for_two(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors))
    return sealed(record, author, [authors[0], authors[0]])


@breaks(rule_seal, "SEAL", "in their order, once each")
def signatures_in_another_order(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors))
    return sealed(record, author, [authors[1], authors[0]])


@breaks(rule_seal, "SEAL", "its author signs once")
def an_author_who_signs_for_another(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors), authors[0])
    return sealed(record, author, [authors[0]])


@breaks(rule_seal, "SEAL", "does not verify")
def a_signature_of_another_record(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors))
    other = w.make(author, JOINT, body_of(authors, 1), {"policy": [author.last]})
    entries = [by(record, author), by(record, authors[0]), by(other, authors[1])]
    return record, seals.encode(entries, many=True)


def header_changed(w, **change):
    authors = signers(w)
    author, record = drafted(w, body_of(authors))
    entries = [by(record, one) for one in (author, *authors[:2])]
    return record, seals.encode([*entries[:2], entries[2]._replace(**change)], many=True)


@breaks(rule_seal, "SEAL", "does not verify")
def a_signer_with_a_lower_algorithm_in_the_header(w):
    return header_changed(w, alg=-47)


@breaks(rule_seal, "SEAL", "does not verify")
def a_signer_with_a_greater_algorithm_in_the_header(w):
    return header_changed(w, alg=-7)


@breaks(rule_seal, "SEAL", "does not verify")
def a_signer_with_a_bitmap(w):
    return header_changed(w, bitmap=b"\x01")


@breaks(rule_seal, "SEAL", "under the agent's key")
def signers_without_the_author(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors))
    other = w.make(author, JOINT, body_of(authors, 1), {"policy": [author.last]})
    return record, seals.encode([by(other, author), *(by(record, one) for one in authors[:2])], many=True)


@breaks(rule_seal, "SEAL", "of its author, and those of its signers")
def an_authorisation_by_its_author_alone(w):
    author, record = drafted(w, body_of(signers(w)))
    return record, w.seal(record, author)


@breaks(rule_seal, "SEAL", "one signature")
def a_state_that_others_sign_too(w):
    record = w.make(w.a, "state")
    return sealed(record, w.a, [w.b])


# --- groups -----------------------------------------------------------------------------------------------------------


@breaks(rule_seal, "SEAL", "not signed by 2 of the 3 members")
def too_few_members_of_a_multisig_group(w):
    return group_sealed(w, (1,), scheme=Alg.BLS_MULTISIG)


@breaks(rule_seal, "SEAL", "not signed by 2 of the 3 members")
def a_signature_of_another_group(w):
    _, _, body = grouped(w)
    author, record = drafted(w, body)
    message = to_be_signed(record.data, Alg.BLS_THRESHOLD, many=True)
    entry = Signature(int(Alg.BLS_THRESHOLD), record.id, bls.sign(scalar(5), message))
    return record, seals.encode([by(record, author), entry], many=True)


@breaks(rule_seal, "SEAL", "one signature, of its group")
def a_group_that_signs_one_by_one(w):
    authors, _, body = grouped(w)
    author, record = drafted(w, body)
    return sealed(record, author, authors[:2])


@breaks(rule_seal, "SEAL", "one signature, of its group")
def a_group_named_by_another_record(w):
    _, secrets, body = grouped(w)
    author, record = drafted(w, body)
    return record, seals.encode([by(record, author), by_group(record, secrets, (0, 1), w.policy.id)], many=True)


@breaks(rule_joint, "JOINT", "did not consent")
def a_member_who_did_not_consent(w):
    def change(body):
        body["group"]["members"][1]["consent"] = body["group"]["members"][0]["consent"]

    return group_sealed(w, change=change)


@breaks(rule_joint, "JOINT", "proof of possession or share")
def a_member_that_does_not_hold_its_key(w):
    def change(body):
        members = body["group"]["members"]
        members[1]["possession"] = members[0]["possession"]

    return group_sealed(w, change=change)


@breaks(rule_joint, "JOINT", "its members are not the signers", alone=False)
def a_group_with_a_member_more(w):
    def change(body):
        body["group"]["members"].append(dict(body["group"]["members"][0]))

    authors, _, body = grouped(w, change=change)
    author, record = drafted(w, body)
    return sealed(record, author, authors[:2])


@breaks(rule_joint, "JOINT", "share a name or a key", alone=False)
def a_group_in_which_one_key_counts_twice(w):
    def change(body):
        body["group"]["members"][1]["key"] = body["group"]["members"][0]["key"]

    authors, _, body = grouped(w, change=change, scheme=Alg.BLS_MULTISIG)
    author, record = drafted(w, body)
    return sealed(record, author, authors[:2])


# --- who may act on it ------------------------------------------------------------------------------------------------


@breaks(rule_bearer, "JOINT", "was not given to its author")
def acting_on_what_was_given_to_others(w):
    joint, _ = given(w)
    stranger = w.agent("stranger")
    return w.sealed(stranger, "state", None, {"prior": [stranger.last], "joint": [joint]})


@breaks(rule_bearer, "JOINT", "was not given to its author")
def a_signer_acting_on_what_was_given_to_another(w):
    joint, _ = given(w, bearers=[w.a.owner])
    return w.sealed(w.b, "state", None, {"prior": [w.b.last], "joint": [joint]})


@breaks(rule_bearer, "EXPIRED", "the joint authorisation expired")
def acting_on_what_has_expired(w):
    joint, _ = given(w, expires=NOW + 5_000)
    return w.sealed(w.a, "state", None, {"prior": [w.a.last], "joint": [joint]}, time=NOW + 5_001)
