"""Checkpoints against C2SP signed-note and tlog-checkpoint."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tslg.protocol import checkpoint, note
from tslg.protocol.checkpoint import Checkpoint
from tslg.protocol.cid import compute, to_text
from tslg.protocol.errors import CheckpointError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.signatures import Alg, ed25519_public_key, ed25519_secret, verify

SECRET = ed25519_secret(bytes(range(32)))
PUBLIC = ed25519_public_key(bytes(range(32)))
AGENT = compute(b"agent")
HEAD = Checkpoint.of(AGENT, 7, bytes(range(32)))
NOTE = checkpoint.encode(HEAD, SECRET)


def test_the_note_is_three_lines_and_a_signature_over_them():
    text, _, line = NOTE.decode().partition("\n\n")
    assert text == f"tslg/{to_text(AGENT)}\n7\n{base64.b64encode(HEAD.root).decode()}"
    dash, name, value = line.rstrip("\n").split(" ")
    signature = base64.b64decode(value)
    assert (dash, name) == ("\u2014", HEAD.origin)
    assert signature[:4] == note.key_id(HEAD.origin, PUBLIC)
    assert verify(Alg.ED25519, PUBLIC, f"{text}\n".encode(), signature[4:])


def test_key_ids_are_those_of_signed_notes():
    # The example of the package golang.org/x/mod/sumdb/note.
    key = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert key[0] == note.ED25519
    assert note.key_id("PeterNeumann", key[1:]).hex() == "c74f20a3"


@given(st.integers(0, DEFAULT.integer), st.binary(min_size=32, max_size=32))
def test_what_was_written_is_read_and_verifies(size, root):
    head = Checkpoint.of(AGENT, size, root)
    signed = checkpoint.parse(checkpoint.encode(head, SECRET))
    assert signed.checkpoint == head
    assert checkpoint.verify(signed, PUBLIC)


def test_another_key_or_another_text_does_not_verify():
    signed = checkpoint.parse(NOTE)
    assert not checkpoint.verify(signed, ed25519_public_key(bytes(32)))
    assert not checkpoint.verify(signed._replace(checkpoint=HEAD._replace(size=8)), PUBLIC)
    assert not checkpoint.verify(signed, b"short")
    moved = signed.signatures[0]._replace(name="tslg/else")
    assert not checkpoint.verify(signed._replace(signatures=(moved,)), PUBLIC)


def test_signatures_of_witnesses_are_carried_along():
    witness = f"\u2014 witness.example/w {base64.b64encode(b'abcd' + bytes(72)).decode()}\n"
    signed = checkpoint.parse(NOTE + witness.encode())
    assert [entry.name for entry in signed.signatures] == [HEAD.origin, "witness.example/w"]
    assert checkpoint.verify(signed, PUBLIC)


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(at, change):
    changed = bytearray(NOTE)
    changed[at] ^= change
    try:
        signed = checkpoint.parse(bytes(changed))
    except CheckpointError:
        return
    assert not checkpoint.verify(signed, PUBLIC)


LINES = NOTE.decode().split("\n")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        "\n".join(LINES[:3]) + "\n",
        NOTE.decode()[:-1],
        NOTE.decode().replace("\n7\n", "\n07\n"),
        NOTE.decode().replace("\n7\n", "\n-7\n"),
        NOTE.decode().replace("\n7\n", f"\n{2**53}\n"),
        NOTE.decode().replace("\n7\n", "\n\u0667\n"),
        NOTE.decode().replace(LINES[2], "AAAA"),
        NOTE.decode().replace(LINES[2], LINES[2][:-2] + "9="),
        NOTE.decode().replace(LINES[2], LINES[2][:-1] + "\u2014"),
        NOTE.decode().replace(LINES[2], LINES[2] + "\nextension" * (DEFAULT.checkpoint_extensions + 1)),
        NOTE.decode().replace(LINES[2], LINES[2] + "\n"),
        NOTE.decode().replace("\u2014", "-"),
        NOTE.decode() + "\u2014 w AAAA\n",
        NOTE.decode() + "x" * DEFAULT.checkpoint_bytes,
    ],
)
def test_what_is_no_checkpoint_is_refused(note):
    with pytest.raises(CheckpointError):
        checkpoint.parse(note.encode())


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(CheckpointError):
        checkpoint.parse(b"\xff" + NOTE)


@pytest.mark.parametrize(
    "origin", ["other/log", "tslg/hello", "tslg/" + to_text(b"\x01\x55\x00\x00"), "go.sum database tree"]
)
def test_checkpoints_of_other_logs_name_no_agent(origin):
    data = NOTE.decode().replace(LINES[0], origin, 1).encode()
    assert checkpoint.parse(data).checkpoint.origin == origin
    with pytest.raises(CheckpointError):
        checkpoint.parse_log(data)


def test_extension_lines_are_signed_and_carried_along():
    head = HEAD._replace(extensions=("one", "two words"))
    signed = checkpoint.parse(checkpoint.encode(head, SECRET))
    assert signed.checkpoint == head and checkpoint.verify(signed, PUBLIC)
    less = signed._replace(checkpoint=head._replace(extensions=("one",)))
    assert not checkpoint.verify(less, PUBLIC)


def test_a_second_line_of_the_key_that_does_not_verify_spoils_the_note():
    signed = checkpoint.parse(NOTE)
    (line,) = signed.signatures
    assert checkpoint.verify(signed._replace(signatures=(line, line)), PUBLIC)
    assert not checkpoint.verify(signed._replace(signatures=(line, line._replace(value=bytes(64)))), PUBLIC)
