"""Records that break the rule of redactions."""

from __future__ import annotations

from breach import NOWHERE, OPEN, breaks

from tslg.protocol.rules.redaction import rule_redaction

MERKLE = OPEN.replace("[envelope]\n", '[envelope]\naddress = "merkle"\n')
BY_ANCHORS = MERKLE + '[envelope.redaction]\nby = "anchors"\nkinds = ["observation"]\n'
FEW = MERKLE + '[envelope.redaction]\nby = "author"\nkinds = ["decision"]\n'


def redacting(w, redacted, evidence=None, **body):
    """A redaction by the first agent."""
    value = {"target": redacted.id, "fields": ["data"], "blobs": [], "reason": "asked to"} | body
    preds = {"policy": [w.policy], "evidence": [redacted] if evidence is None else evidence}
    return w.sealed(w.a, "redaction", value, preds)


@breaks(rule_redaction, "REDACTION", "not among its evidence", toml=MERKLE)
def a_redaction_of_what_it_does_not_cite(w):
    return redacting(w, w.seen, target=NOWHERE)


@breaks(rule_redaction, "REDACTION", "names nothing", toml=MERKLE)
def a_redaction_of_nothing(w):
    return redacting(w, w.seen, fields=[])


@breaks(rule_redaction, "REDACTION", "must be kept whole for 50000 ms", toml=MERKLE)
def a_redaction_of_what_must_be_kept_longer(w):
    w.amend(retention={"observation": 50_000})
    return redacting(w, w.seen)


@breaks(rule_redaction, "REDACTION", "only its author", toml=MERKLE)
def a_redaction_by_somebody_else(w):
    other = w.add(w.b, "observation")
    return redacting(w, other)


@breaks(rule_redaction, "REDACTION", "only the federation's anchors", toml=BY_ANCHORS)
def a_redaction_by_its_author_where_anchors_redact(w):
    return redacting(w, w.seen)


@breaks(rule_redaction, "REDACTION", "does not allow to redact a observation", toml=FEW)
def a_redaction_of_a_kind_that_stays(w):
    return redacting(w, w.seen)


@breaks(rule_redaction, "REDACTION", "does not commit to name", toml=MERKLE)
def a_redaction_of_a_field_that_is_stated(w):
    return redacting(w, w.policy, fields=["name"])


@breaks(rule_redaction, "REDACTION", "does not commit to data")
def a_redaction_under_flat_addresses(w):
    return redacting(w, w.seen)
