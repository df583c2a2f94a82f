"""Sealing plaintexts: a key for each, the plaintext in chunks under it, and keys wrapped by other keys.

Everything is XChaCha20-Poly1305, by libsodium: single messages with a random nonce of 24 bytes for keys, its
secretstream for what is long. What a ciphertext belongs to is bound to it as associated data.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

from nacl import bindings
from nacl.exceptions import CryptoError

from tslg.protocol import codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import VaultError

KEY_BYTES: Final = 32
MARK_BYTES: Final = 16
CHUNK_BYTES: Final = 64 * 1024
"""Plaintext in one chunk: each is authenticated before any of it is handed on."""
_NONCE: Final = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_HEADER: Final = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_FINAL: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_MORE: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE


def fresh_key() -> bytes:
    """Return 32 secret random bytes."""
    return os.urandom(KEY_BYTES)


def bound_to(purpose: str, *parts: Any) -> bytes:
    """Return associated data: what something encrypted belongs to, so that it opens for nothing else."""
    return codec.encode([f"tslg.vault.{purpose}.v1", *parts])


def of_entry(vault: bytes, owner: Link, mark: bytes, record: Link | None, name: str, digest: bytes, size: int) -> bytes:
    """Return what a data key is bound to; `record` is None until the record is there."""
    return bound_to("data-key", vault, owner, mark, record, name, digest, size)


def wrap(key: bytes, secret: bytes, belongs: bytes) -> bytes:
    """Encrypt a short secret under a key; the nonce stands before it."""
    nonce = os.urandom(_NONCE)
    return nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(secret, belongs, nonce, key)


def unwrap(key: bytes, wrapped: bytes, belongs: bytes) -> bytes | None:
    """Return the secret; None if it was not wrapped by this key for this."""
    if len(wrapped) < _NONCE:
        return None
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(wrapped[_NONCE:], belongs, wrapped[:_NONCE], key)
    except (CryptoError, ValueError):
        return None


def sealed_chunks(key: bytes, mark: bytes, plaintext: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a ciphertext, the stream's header at the beginning of the first, the last one marked so.

    Args:
        key: used for this plaintext alone.
        mark: what every chunk is bound to.
        plaintext: in pieces of any length.
    """
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    begun = bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    for piece, last in _ahead(plaintext):
        tag = _FINAL if last else _MORE
        yield begun + bindings.crypto_secretstream_xchacha20poly1305_push(state, piece, mark, tag)
        begun = b""


def opened_chunks(key: bytes, mark: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the plaintext of the chunks, each once it is authentic.

    Raises:
        VaultError: `TSLG-P-BROKEN`: a chunk is not the one that was sealed in its place, or one is missing.
    """
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    begun, ended = False, False
    for chunk in chunks:
        rest = chunk
        try:
            if not begun:
                bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, chunk[:_HEADER], key)
                begun, rest = True, chunk[_HEADER:]
            piece, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(state, rest, mark)
        except (CryptoError, ValueError, RuntimeError, TypeError):
            raise broken("a chunk of it is not what was sealed") from None
        if ended:
            raise broken("there is more of it than was sealed")
        ended = tag == _FINAL
        yield piece
    if not ended:
        raise broken("its end is missing")


def broken(what: str, record: bytes | None = None) -> VaultError:
    """Return the error of a plaintext that was damaged or exchanged."""
    mend = "restore the vault from a backup; the record stays valid"
    return VaultError(f"a plaintext cannot be opened: {what}", code="TSLG-P-BROKEN", mend=mend, record=record)


def _ahead(plaintext: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield pieces of a chunk's length, the last one shorter or empty, each with whether it is the last."""
    held = bytearray()
    for piece in plaintext:
        held += piece
        while len(held) > CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES]), False
            del held[:CHUNK_BYTES]
    yield bytes(held), True
