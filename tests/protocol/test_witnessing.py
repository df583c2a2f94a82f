"""The witness protocol's messages and judgement, by published conversations and by a model of a log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tslg.protocol import checkpoint, note, witnessing
from tslg.protocol.checkpoint import Checkpoint, Signed
from tslg.protocol.errors import CheckpointError
from tslg.protocol.log import EMPTY_ROOT, Tree
from tslg.protocol.signatures import ed25519_secret
from tslg.protocol.witnessing import UNSEEN, Request, Seen, judge_note, judge_tree

VECTORS = Path(__file__).parents[1] / "vectors"
C2SP = json.loads((VECTORS / "c2sp.json").read_text(encoding="utf-8"))
PUBLISHED = json.loads((VECTORS / "c2sp_witness.json").read_text(encoding="utf-8"))["cases"]
SECRET = ed25519_secret(bytes(32))
KEYS = [checkpoint.log_key("example.com/log", SECRET[32:])]
TREE = Tree(bytes([n]) for n in range(20))


def request(old: int, size: int, *, proof: list[bytes] | None = None, root: bytes | None = None) -> Request:
    head = Checkpoint("example.com/log", size, TREE.root(size) if root is None else root)
    if proof is None:
        proof = TREE.consistency_proof(old, size) if 0 < old <= size else []
    return Request(old, tuple(proof), Signed(head, (note.sign(head.text, head.origin, SECRET),)))


def seen(size: int) -> Seen:
    return Seen(size, TREE.root(size))


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case["name"])
@pytest.mark.spec("ANC-1", "ANC-2", "ANC-3", "ANC-4")
def test_published_conversations_get_their_answers(case):
    keys, last = [note.parse_key(text) for text in case["keys"]], UNSEEN
    for number, step in enumerate(case["steps"]):
        asked = witnessing.parse(step["body"].encode())
        known = keys if asked.signed.checkpoint.origin == case["origin"] else None
        answer = judge_note(asked, known)
        if answer.status == 200:
            answer = judge_tree(asked, last)
        assert answer.status == step["status"], (number, answer)
        if answer.status == 200:
            last = Seen(asked.signed.checkpoint.size, asked.signed.checkpoint.root)


@pytest.mark.spec("ANC-1")
def test_the_published_request_is_read_and_written():
    example = C2SP["request"]
    lines = [f"old {example['old']}", *example["proof"]]
    body = ("\n".join(lines) + "\n\n" + example["note"]).encode()
    read = witnessing.parse(body)
    assert read.old_size == example["old"] and len(read.proof) == len(example["proof"])
    assert read.to_bytes() == body


@given(st.integers(0, 20), st.integers(0, 20))
@pytest.mark.spec("ANC-4")
def test_what_extends_is_cosigned_and_nothing_else(last, size):
    for old in range(21):
        answer = judge_note(request(old, size), KEYS)
        if answer.status == 200:
            answer = judge_tree(request(old, size), seen(last) if last else UNSEEN)
        expected = 400 if old > size else 409 if old != last else 200
        assert answer.status == expected
        if expected == 409:
            assert witnessing.read_size(answer.detail.encode()) == last


@pytest.mark.spec("ANC-4")
def test_what_does_not_extend_is_never_cosigned():
    bad = bytes(32)
    assert judge_tree(request(5, 9, root=bad), seen(5)).status == 422
    assert judge_tree(request(5, 9, proof=[]), seen(5)).status == 422
    assert judge_tree(request(5, 9, proof=[bad] * 4), seen(5)).status == 422
    assert judge_tree(request(5, 5, root=bad), seen(5)).status == 422
    assert judge_tree(request(5, 5, proof=[bad]), seen(5)).status == 422
    assert judge_tree(request(0, 5, proof=[bad]), UNSEEN).status == 422
    assert judge_tree(request(0, 0, root=bad), UNSEEN).status == 422
    assert judge_tree(request(0, 0, root=EMPTY_ROOT), UNSEEN).status == 200
    assert judge_tree(request(5, 9), Seen(5, bad)).status == 422


@pytest.mark.spec("ANC-3")
def test_only_a_key_of_the_log_is_heard():
    asked = request(0, 3)
    other = checkpoint.log_key("example.com/log", ed25519_secret(bytes([1] * 32))[32:])
    assert judge_note(asked, None).status == 404
    assert judge_note(asked, []).status == judge_note(asked, [other]).status == 403
    (line,) = asked.signed.signatures
    broken = line._replace(value=bytes(64))
    for lines in ((broken,), (line, broken)):
        assert judge_note(asked._replace(signed=Signed(asked.signed.checkpoint, lines)), KEYS).status == 403
    assert judge_note(asked, [other, *KEYS]).status == 200


BODY = request(5, 9).to_bytes()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        BODY[:-1],
        BODY + b"x",
        BODY.replace(b"old 5", b"old 05"),
        BODY.replace(b"old 5", b"old -5"),
        BODY.replace(b"old 5", b"old  5"),
        BODY.replace(b"old 5", b"size 5"),
        BODY.replace(b"old 5\n", b"old 5\nAAAA\n"),
        BODY.replace(b"old 5\n", b"old 5\n" + b"A" * 43 + b"=\n" * 64),
        BODY.replace(b"old 5\n", b"old 5\n\xff\n"),
        BODY.replace(b"old 5\n", b"old 5\n" + (b"A" * 43 + b"=\n") * 64),
    ],
)
@pytest.mark.spec("ANC-2")
def test_what_is_no_request_is_refused(body):
    with pytest.raises(CheckpointError):
        witnessing.parse(body)


def test_sizes_are_read_as_they_are_written():
    assert witnessing.read_size(b"0\n") == 0
    for body in (b"", b"5", b"05\n", b"5\n\n", b"\xff\n", b"9" * 40 + b"\n"):
        with pytest.raises(CheckpointError):
            witnessing.read_size(body)


def test_cosignatures_are_merged_once():
    signed = request(0, 3).signed
    more = Signed(signed.checkpoint, (note.NoteSignature("w", b"abcd", b"x"),))
    merged = witnessing.merge(signed, [more, more, signed])
    assert merged.signatures == (*signed.signatures, *more.signatures)
    with pytest.raises(CheckpointError):
        witnessing.merge(signed, [request(0, 4).signed])


@pytest.mark.spec("ANC-2")
def test_a_proof_of_as_many_lines_as_the_longest_is_read():
    longest = BODY.split(b"\n\n")[0].split(b"\n")[0] + b"\n" + b"\n".join([b"A" * 43 + b"="] * witnessing.PROOF_LINES)
    whole = longest + b"\n\n" + BODY.partition(b"\n\n")[2]
    assert len(witnessing.parse(whole).proof) == witnessing.PROOF_LINES
