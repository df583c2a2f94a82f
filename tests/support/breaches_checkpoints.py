"""Observations of other logs' checkpoints that do not hold."""

from __future__ import annotations

from breach import breaks

from tslg.protocol import checkpoint
from tslg.protocol.checkpoint import Checkpoint
from tslg.protocol.rules.checkpoints import rule_checkpoint
from tslg.protocol.signatures import ed25519_secret


def note(author, size=None, seed=None, **changes):
    """The checkpoint of an author's log at a size, signed by its key or another."""
    size = len(author.log) if size is None else size
    head = Checkpoint.of(author.owner, size, author.tree.root(size))._replace(**changes)
    return checkpoint.encode(head, ed25519_secret(author.keys[author.key].seed if seed is None else seed))


def observed(w, data, cites, make=None):
    body = {"source": "a log", "checkpoint": data}
    return (make or w.sealed)(w.b, "observation", body, {"prior": [w.b.last], "evidence": cites})


@breaks(rule_checkpoint, "CHECKPOINT", "not a checkpoint")
def an_observation_of_a_checkpoint_that_is_none(w):
    return observed(w, b"nonsense", [w.a.last])


@breaks(rule_checkpoint, "CHECKPOINT", "names no agent")
def an_observation_of_a_log_of_nobody(w):
    return observed(w, note(w.a, origin="tslg/nobody"), [w.a.last])


@breaks(rule_checkpoint, "CHECKPOINT", "not of another agent's")
def an_observation_of_the_own_log(w):
    return observed(w, note(w.b), [w.a.last])


@breaks(rule_checkpoint, "CHECKPOINT", "does not cite record")
def an_observation_that_cites_an_earlier_record(w):
    return observed(w, note(w.a), [w.a.log[1]])


@breaks(rule_checkpoint, "CHECKPOINT", "does not cite record")
def an_observation_that_cites_another_log(w):
    c = w.agent("c")
    return observed(w, note(w.a), [c.last])


@breaks(rule_checkpoint, "CHECKPOINT", "did not sign it")
def an_observation_of_a_checkpoint_by_another_key(w):
    return observed(w, note(w.a, seed=bytes(32)), [w.a.last])


@breaks(rule_checkpoint, "CHECKPOINT", "did not sign it")
def an_observation_of_a_changed_checkpoint(w):
    return observed(
        w,
        note(w.a).replace(b"tslg/", b"tslg/", 1).replace(note(w.a).split(b"\n")[2], note(w.b).split(b"\n")[2]),
        [w.a.last],
    )


@breaks(rule_checkpoint, "CHECKPOINT", "does not cite record")
def an_observation_that_cites_a_later_record(w):
    return observed(w, note(w.a, len(w.a.log) - 1), [w.a.last])
