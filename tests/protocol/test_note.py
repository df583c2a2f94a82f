"""Notes and verifier keys against C2SP signed-note."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tslg.protocol import note
from tslg.protocol.errors import CheckpointError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.note import Note, VerifierKey
from tslg.protocol.signatures import Alg, ed25519_public_key, ed25519_secret, verify

C2SP = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp.json").read_text(encoding="utf-8"))
SECRET = ed25519_secret(bytes(range(32)))
PUBLIC = ed25519_public_key(bytes(range(32)))
TEXT = "hello\n\nworld\n"
NOTE = Note(TEXT, (note.sign(TEXT, "example.com/k", SECRET),))


@pytest.mark.spec("CHK-1", "CHK-3", "CHK-4")
@pytest.mark.parametrize("example", C2SP["notes"], ids=lambda example: example["from"])
def test_published_notes_are_read_and_verify(example):
    data = example["note"].encode()
    read = note.parse(data)
    assert read.to_bytes() == data
    if example["key"] is not None:
        key = note.parse_key(example["key"])
        (line,) = read.signatures
        assert key.text == example["key"] and key.made(line)
        assert verify(Alg.ED25519, key.public, read.text.encode(), line.value)


@given(
    st.text(st.characters(blacklist_categories=["Cc", "Cs"])),
    st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=5),
)
def test_what_was_written_is_read(line, values):
    text = f"{line}\n\n{line}\n"
    signed = Note(text, tuple(note.NoteSignature("name", b"abcd", value) for value in values))
    assert note.parse(signed.to_bytes()) == signed


def test_sixteen_signatures_of_the_largest_kind_fit():
    many = Note(TEXT, tuple(note.NoteSignature("n" * 255, bytes([n] * 4), bytes(5000)) for n in range(16)))
    assert note.parse(many.to_bytes()) == many


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        NOTE.to_bytes()[:-1],
        NOTE.to_bytes() + b"trailing",
        NOTE.to_bytes() + b"\n",
        NOTE.to_bytes().replace(b"hello", b"hel\x07lo"),
        NOTE.to_bytes().replace(b"hello", b"hello\r"),
        NOTE.to_bytes().replace(b"hello", b"\xff"),
        NOTE.to_bytes().replace("\u2014".encode(), b"-"),
        NOTE.to_bytes().replace(b"example.com/k", b"example+com"),
        NOTE.to_bytes().replace(b"example.com/k", "a\u00a0b".encode()),
        NOTE.to_bytes().replace(b"example.com/k ", b" "),
        NOTE.to_bytes() + "\u2014 w AAAAAA==\n".encode(),
        NOTE.to_bytes() + "\u2014 w YWJjZGV=\n".encode(),
        b"t\n\n" + "\u2014 w AAAAAAAA\n".encode() * (DEFAULT.note_signatures + 1),
        b"x" * DEFAULT.checkpoint_bytes + NOTE.to_bytes(),
    ],
)
@pytest.mark.spec("CHK-1", "CHK-3")
def test_what_is_no_note_is_refused(data):
    with pytest.raises(CheckpointError):
        note.parse(data)


KEY = VerifierKey("example.com/k", note.ED25519, PUBLIC)


def test_keys_are_written_and_read():
    for type in (note.ED25519, note.COSIGNATURE):
        key = VerifierKey("example.com/k", type, PUBLIC)
        assert note.parse_key(key.text) == key
    big = VerifierKey("example.com/k", note.COSIGNATURE_ML_DSA_44, bytes(1312))
    assert note.parse_key(big.text) == big


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        KEY.text.replace("example", "elsewhere"),
        KEY.text.replace("+", " ", 1),
        KEY.text[:-4],
        KEY.text.replace(KEY.id.hex(), KEY.id.hex().upper() + "0"),
        VerifierKey("k", 0x02, PUBLIC).text,
        VerifierKey("k", note.ED25519, bytes(32)).text,
        VerifierKey("k", note.COSIGNATURE, PUBLIC + b"x").text,
        f"k+00000000+{base64.b64encode(b'').decode()}",
    ],
)
@pytest.mark.spec("CHK-7")
def test_what_is_no_key_is_refused(text):
    with pytest.raises(CheckpointError):
        note.parse_key(text)


def test_one_key_under_two_names_is_not_two():
    other = VerifierKey("example.com/other", note.COSIGNATURE, PUBLIC)
    assert note.distinct_keys([KEY]) and not note.distinct_keys([KEY, other]) and not note.distinct_keys([KEY, KEY])
