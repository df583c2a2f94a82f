"""The messages of a key ceremony: what each says, its canonical bytes, and the signature that makes it evidence.

Every message is DAG-CBOR of one map that names its `kind` and its ceremony, and is signed with an Ed25519 key that its
author announces in the first round and uses in this ceremony only. So a message can travel in any way, files included,
and whoever holds it can show others who said it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, ClassVar, Final, Self

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from tslg.protocol import codec
from tslg.protocol.errors import CodecError, ManifestError
from tslg.protocol.limits import DEFAULT

_SIGNED: Final = b"tslg.dkg.message.v1\0"
_NAMED: Final = b"tslg.dkg.ceremony.v1\0"
_NAME_CHARACTERS: Final = 256
_DIGEST: Final = 32

# The shape of a field: an int is the length of a byte string, `...` any byte string, `int` a member's index, `str` a
# text, a list of one shape any number of those.
_Shape = Any


def refuse(code: str, detail: str, mend: str = "") -> ManifestError:
    """The error of a ceremony that cannot go on."""
    return ManifestError(detail, code=code, mend=mend)


@dataclass(frozen=True)
class Ceremony:
    """Who makes a key together. Member i is `members[i]`; its share is the polynomial's value at i + 1.

    Attributes:
        nonce: 32 bytes that make this ceremony differ from any other.
        threshold: how many members sign together, at least 2 unless there is one member.
        members: distinct printable names, 1 to `Limits.anchors` of them, in an order all agree on.
    """

    nonce: bytes
    threshold: int
    members: tuple[str, ...]

    def __post_init__(self) -> None:
        names, count = self.members, len(self.members)
        if not isinstance(self.nonce, bytes) or len(self.nonce) != _DIGEST:
            raise refuse("TSLG-M-DKG-CEREMONY", "a ceremony's nonce is 32 bytes")
        if not 1 <= count <= DEFAULT.anchors or len(set(names)) != count:
            raise refuse("TSLG-M-DKG-CEREMONY", f"a ceremony has 1 to {DEFAULT.anchors} members with distinct names")
        if not all(isinstance(name, str) and _is_name(name) for name in names):
            raise refuse("TSLG-M-DKG-CEREMONY", f"a member's name is 1 to {_NAME_CHARACTERS} printable characters")
        if type(self.threshold) is not int or not min(2, count) <= self.threshold <= count:
            raise refuse(
                "TSLG-M-DKG-CEREMONY",
                f"{count} members cannot share a key that {self.threshold} of them use",
                "choose a threshold from 2 to the number of members; where one signer is enough, use multisig",
            )

    @property
    def id(self) -> bytes:
        """32 bytes that every message names: the digest of nonce, threshold and members."""
        return sha256(_NAMED + self.to_bytes()).digest()

    def index(self, name: str) -> int:
        """The index of a member. Raises ManifestError TSLG-M-DKG-CEREMONY for a name that takes no part."""
        if name not in self.members:
            raise refuse("TSLG-M-DKG-CEREMONY", f"{name!r} takes no part in this ceremony")
        return self.members.index(name)

    def without(self, name: str) -> Ceremony:
        """The ceremony that the others start anew once a member is excluded; all of them arrive at the same one.

        Raises ManifestError TSLG-M-DKG-CEREMONY if too few are left for the threshold.
        """
        gone = self.index(name)
        nonce = sha256(_NAMED + self.id + gone.to_bytes(8, "big")).digest()
        return Ceremony(nonce, self.threshold, self.members[:gone] + self.members[gone + 1 :])

    def to_value(self) -> dict[str, Any]:
        """The ceremony as a map."""
        return {"nonce": self.nonce, "threshold": self.threshold, "members": list(self.members)}

    def to_bytes(self) -> bytes:
        """The canonical bytes of the ceremony."""
        return codec.encode(self.to_value())

    @classmethod
    def from_value(cls, value: Any) -> Ceremony:
        """A ceremony from its map. Raises ManifestError TSLG-M-DKG-CEREMONY."""
        if not isinstance(value, dict) or value.keys() != {"nonce", "threshold", "members"}:
            raise refuse("TSLG-M-DKG-CEREMONY", "a ceremony is a map of nonce, threshold and members")
        if not isinstance(value["members"], list):
            raise refuse("TSLG-M-DKG-CEREMONY", "a ceremony's members are a list")
        return cls(value["nonce"], value["threshold"], tuple(value["members"]))

    @classmethod
    def from_bytes(cls, data: bytes) -> Ceremony:
        """A ceremony from its bytes. Raises ManifestError TSLG-M-DKG-CEREMONY or TSLG-M-DKG-MESSAGE."""
        return cls.from_value(read_map(data, "ceremony", limit=2 * DEFAULT.anchors * _NAME_CHARACTERS * 4))


@dataclass(frozen=True)
class Message:
    """What all messages share. `member` is the author's index, `signature` the author's over everything else."""

    kind: ClassVar[str]
    shapes: ClassVar[dict[str, _Shape]]

    ceremony: bytes
    member: int
    signature: bytes = field(repr=False)

    @classmethod
    def signed(cls, key: SigningKey, **content: Any) -> Self:
        """A message with this content, signed."""
        unsigned = cls(signature=b"", **content)
        return cls(signature=key.sign(unsigned._signed_bytes()).signature, **content)

    def is_signed_by(self, key: bytes) -> bool:
        """Whether the holder of a 32-byte Ed25519 key signed this message."""
        try:
            VerifyKey(key).verify(self._signed_bytes(), self.signature)
        except (CryptoError, ValueError):
            return False
        return True

    def to_bytes(self) -> bytes:
        """The canonical bytes of the message, signature included."""
        return codec.encode({**self._content(), "signature": self.signature})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The message of canonical bytes. Raises ManifestError TSLG-M-DKG-MESSAGE; no signature is checked here."""
        value = read_map(data, cls.kind, limit=DEFAULT.ceremony_bytes)
        shapes = {"kind": str, "ceremony": _DIGEST, "member": int, "signature": 64, **cls.shapes}
        if value.keys() != shapes.keys() or value["kind"] != cls.kind:
            raise refuse("TSLG-M-DKG-MESSAGE", f"these bytes are not a {cls.kind}")
        for name, shape in shapes.items():
            if not _fits(value[name], shape):
                raise refuse("TSLG-M-DKG-MESSAGE", f"{name!r} of a {cls.kind} has a wrong type or length")
        del value["kind"]
        content: dict[str, Any] = {name: tuple(item) if type(item) is list else item for name, item in value.items()}
        return cls(**content)

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"kind": self.kind}
        for item in fields(self):
            value = getattr(self, item.name)
            content[item.name] = list(value) if isinstance(value, tuple) else value
        del content["signature"]
        return content

    def _signed_bytes(self) -> bytes:
        return _SIGNED + codec.encode(self._content())


@dataclass(frozen=True)
class Commitment(Message):
    """Round one: a commitment to a secret polynomial, and proof that its maker knows the secret.

    Attributes:
        points: the coefficients times the generator of G1, lowest first; as many as the threshold.
        proof_point: R of the Schnorr proof of knowledge of the lowest coefficient, 48 bytes.
        proof_response: z of that proof, 32 bytes big-endian.
        box_key: X25519 key to which the others encrypt their shares, for this ceremony only.
        sign_key: Ed25519 key of this member's messages, for this ceremony only.
    """

    kind: ClassVar[str] = "tslg-dkg-commitment"
    shapes: ClassVar[dict[str, _Shape]] = {
        "points": [48],
        "proof_point": 48,
        "proof_response": 32,
        "box_key": 32,
        "sign_key": 32,
    }

    points: tuple[bytes, ...]
    proof_point: bytes
    proof_response: bytes
    box_key: bytes
    sign_key: bytes


@dataclass(frozen=True)
class Shares(Message):
    """Round two: one share for each member, encrypted to it; empty for the author.

    Attributes:
        transcript: digest of the first round as the author saw it.
        boxes: X25519-XSalsa20-Poly1305 ciphertexts of 48 bytes, by member index.
    """

    kind: ClassVar[str] = "tslg-dkg-shares"
    shapes: ClassVar[dict[str, _Shape]] = {"transcript": _DIGEST, "boxes": [...]}

    transcript: bytes
    boxes: tuple[bytes, ...]


@dataclass(frozen=True)
class Complaint(Message):
    """A member's word that another sent it no share or a bad one.

    Attributes:
        transcript: digest of the first round.
        accused: index of the member who is said to have failed.
        evidence: the accused's shares message; empty if it sent none.
        box_secret: the complainant's X25519 secret of this ceremony, which opens the share for everybody; empty if
            there is no share. It opens every share the complainant sent or got, so the ceremony ends with it.
    """

    kind: ClassVar[str] = "tslg-dkg-complaint"
    shapes: ClassVar[dict[str, _Shape]] = {"transcript": _DIGEST, "accused": int, "evidence": ..., "box_secret": ...}

    transcript: bytes
    accused: int
    evidence: bytes = field(repr=False)
    box_secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Confirmation(Message):
    """The last word of a member that holds a good share of the group's key.

    Attributes:
        transcript: digest of the first round; everybody's must be the same.
        group_key: 48 bytes.
        possession: proof of possession of the author's share, 96 bytes.
    """

    kind: ClassVar[str] = "tslg-dkg-confirmation"
    shapes: ClassVar[dict[str, _Shape]] = {"transcript": _DIGEST, "group_key": 48, "possession": 96}

    transcript: bytes
    group_key: bytes
    possession: bytes


def read_map(data: bytes, what: str, *, limit: int) -> dict[str, Any]:
    """The map that canonical bytes hold. Raises ManifestError TSLG-M-DKG-MESSAGE."""
    if not isinstance(data, bytes) or len(data) > limit:
        raise refuse("TSLG-M-DKG-MESSAGE", f"a {what} is at most {limit} bytes")
    try:
        value = codec.decode(data)
    except CodecError as error:
        raise refuse("TSLG-M-DKG-MESSAGE", f"not a {what}: {error.detail}") from error
    if not isinstance(value, dict):
        raise refuse("TSLG-M-DKG-MESSAGE", f"these bytes are not a {what}")
    return value


def _is_name(name: str) -> bool:
    return 1 <= len(name) <= _NAME_CHARACTERS and name.isprintable()


def _fits(value: Any, shape: _Shape) -> bool:
    if isinstance(shape, list):
        return type(value) is list and len(value) <= DEFAULT.anchors and all(_fits(item, shape[0]) for item in value)
    if shape is int:
        return type(value) is int and 0 <= value < DEFAULT.anchors
    if shape is str:
        return type(value) is str
    return type(value) is bytes and (shape is ... or len(value) == shape)
