"""Sealing and opening: what was sealed comes out, and whatever was changed, moved, cut or is another's does not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.node.vault import master, sealing
from tslg.node.vault.sealing import CHUNK_BYTES, bound_to, fresh_key, opened_chunks, sealed_chunks, unwrap, wrap
from tslg.protocol.errors import VaultError

MARK = bytes(16)
LENGTHS = st.sampled_from([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES - 5])


def pieces(content, size):
    return [content[at : at + size] for at in range(0, len(content), size)]


@settings(max_examples=25, deadline=None)
@given(LENGTHS | st.integers(0, 2_000), st.integers(1, 100_000))
def test_what_was_sealed_in_any_pieces_is_opened(length, size):
    content, key = bytes(i % 251 for i in range(length)), fresh_key()
    chunks = list(sealed_chunks(key, MARK, pieces(content, size)))
    assert len(chunks) == max(1, -(-length // CHUNK_BYTES))
    assert b"".join(opened_chunks(key, MARK, chunks)) == content


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nothing_that_was_changed_is_opened(data):
    key = fresh_key()
    chunks = list(sealed_chunks(key, MARK, [b"x" * (2 * CHUNK_BYTES + 7)]))
    at = data.draw(st.integers(0, len(chunks) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "drop", "swap", "twice", "more"]))
    chunk = bytearray(chunks[at])
    if how == "flip":
        chunk[data.draw(st.integers(0, len(chunk) - 1))] ^= data.draw(st.integers(1, 255))
        chunks[at] = bytes(chunk)
    elif how == "cut":
        chunks[at] = bytes(chunk[: data.draw(st.integers(0, len(chunk) - 1))])
    elif how == "drop":
        del chunks[at]
    elif how == "swap":
        other = (at + 1) % len(chunks)
        chunks[at], chunks[other] = chunks[other], chunks[at]
    elif how == "twice":
        chunks.insert(at, chunks[at])
    else:
        chunks.append(chunks[at])
    with pytest.raises(VaultError) as caught:
        list(opened_chunks(key, MARK, chunks))
    assert caught.value.code == "TSLG-P-BROKEN"


def test_nothing_is_opened_by_another_key_or_for_another_mark():
    key = fresh_key()
    chunks = list(sealed_chunks(key, MARK, [b"secret"]))
    for other, mark in ((fresh_key(), MARK), (key, b"\x01" * 16)):
        with pytest.raises(VaultError, match="TSLG-P-BROKEN"):
            list(opened_chunks(other, mark, chunks))
    with pytest.raises(VaultError, match="its end is missing"):
        list(opened_chunks(key, MARK, []))


def test_equal_plaintexts_have_nothing_in_common_when_sealed():
    one, other = (b"".join(sealed_chunks(fresh_key(), MARK, [b"the same"])) for _ in range(2))
    assert one[:24] != other[:24] and one[24:] != other[24:]


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=64), st.binary(max_size=40), st.integers(0, 10_000), st.integers(1, 255))
def test_a_wrapped_key_opens_for_what_it_belongs_to_alone(secret, belongs, at, change):
    key = fresh_key()
    wrapped = wrap(key, secret, belongs)
    assert unwrap(key, wrapped, belongs) == secret
    assert unwrap(fresh_key(), wrapped, belongs) is None
    assert unwrap(key, wrapped, belongs + b"x") is None
    assert unwrap(key, wrapped[: at % len(wrapped)], belongs) is None
    spoilt = bytearray(wrapped)
    spoilt[at % len(wrapped)] ^= change
    assert unwrap(key, bytes(spoilt), belongs) is None


def test_purposes_are_kept_apart():
    assert bound_to("check", b"v") != bound_to("tenant-key", b"v")
    assert sealing.of_entry(b"v", b"o", MARK, None, "output", b"d", 1) != sealing.of_entry(
        b"v", b"o", MARK, b"r", "output", b"d", 1
    )


WORK = master.Work(1, 8 * 1024 * 1024)


def test_a_passphrase_gives_the_same_key_by_its_settings_and_another_one_elsewhere():
    made = master.from_passphrase("correct horse battery", work=WORK)
    assert master.from_passphrase("correct horse battery", made.settings).key == made.key
    assert master.from_passphrase("correct horse batterY", made.settings).key != made.key
    assert master.from_passphrase("correct horse battery", work=WORK).key != made.key
    assert made.key.hex() not in repr(made)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kind": "passphrase", "salt": "00" * 16, "passes": 10**9, "memory": 8 * 1024 * 1024},
        {"kind": "passphrase", "salt": "00" * 16, "passes": 1, "memory": 2**40},
        {"kind": "passphrase", "salt": "00", "passes": 1, "memory": 8 * 1024 * 1024},
        {"kind": "passphrase", "salt": "xx", "passes": 1, "memory": 8 * 1024 * 1024},
        {"kind": "passphrase", "salt": "00" * 16, "passes": "1", "memory": 8 * 1024 * 1024},
    ],
)
def test_settings_that_ask_for_nonsense_or_endless_work_are_refused(settings):
    with pytest.raises(VaultError, match="TSLG-P-KEY"):
        master.from_passphrase("correct horse battery", settings)


def test_short_passphrases_are_refused_for_new_vaults():
    with pytest.raises(VaultError, match="at least 12"):
        master.from_passphrase("short")


def test_key_files_are_private_and_whatever_else_is_refused(tmp_path):
    path = tmp_path / "vault.key"
    made = master.write_file(path)
    assert master.from_file(path).key == made.key and path.stat().st_mode & 0o077 == 0
    for text in (
        "",
        "{}",
        "[]",
        '{"type": "tslg vault key", "key": "00"}',
        '{"type": "x", "key": "' + "00" * 32 + '"}',
    ):
        path.write_text(text)
        with pytest.raises(VaultError, match="TSLG-P-KEY") as caught:
            master.from_file(path)
        assert caught.value.__cause__ is None
    with pytest.raises(VaultError, match="TSLG-P-KEY"):
        master.from_file(tmp_path / "absent")
