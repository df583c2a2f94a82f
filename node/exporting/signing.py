"""Signing exports with an agent's own Ed25519 key, kept apart from everything else that this key signs.

What a seal signs begins with the CBOR array `0x84 0x6a Signature1`, what DSSE signs with the text `DSSEv1 `, and a
signed note with its origin. A COSE statement shares its beginning with a seal, and differs from it in its protected
header and in its external data: a seal's is `tslg.record.v1`, a statement's is empty. So no signature of one serves as
another's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tslg.manifests.agent_keys import SigningKey
from tslg.node.keyring import Keyring
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError, UsageError
from tslg.protocol.signatures import Alg


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs an export.

    Attributes:
        agent: the agent.
        key: the record that registers its key.
        public: the key, 32 bytes of Ed25519.
        sign: signs bytes.
    """

    agent: Link
    key: Link
    public: bytes
    sign: Callable[[bytes], bytes] = field(repr=False)

    @property
    def key_id(self) -> str:
        """What names the key in an export: the id of the record that registers it, as text."""
        return to_text(self.key)


def signer_of(keyring: Keyring, agent: Link) -> Signer:
    """Return what signs with an agent's newest Ed25519 key in force.

    Raises:
        UsageError: no secret of such a key of the agent is here.
    """
    try:
        secret: SigningKey = keyring.note_key(agent)
    except CheckpointError as error:
        raise UsageError(
            "exports are signed by Ed25519 keys, and no such key of the agent is in force here",
            mend="rotate to an Ed25519 key",
            record=agent,
        ) from error
    key = next(one.key for one in keyring.states(agent) if one.here and one.key.public == secret.public)
    return Signer(agent, key.record, secret.public, lambda message: secret.sign(Alg.ED25519, message))
