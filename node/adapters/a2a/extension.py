"""What travels: one entry in the metadata of A2A messages and tasks, under the URI of the extension."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from a2a.types.a2a_pb2 import AgentCard, AgentExtension, Artifact, Message, Task
from google.protobuf.json_format import Error, MessageToDict
from google.protobuf.struct_pb2 import Struct

from tslg.node.governing.content import digest
from tslg.protocol.cid import from_text, to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError, UsageError
from tslg.protocol.limits import DEFAULT

URI: Final = "urn:tslg:a2a:delegation:1"
"""The extension, and the key of its entry in metadata."""
_ABOUT: Final = "Work is done under delegations that are signed records; results are records that anybody can verify."


class Attached(NamedTuple):
    """What a message or a task says of its lineage.

    Attributes:
        federation: the federation of all these records.
        delegation: the delegation under which the work is asked for, or was done.
        addresses: where the sender's node is asked for records.
        result: the record of what came of it; None in a request.
    """

    federation: Link
    delegation: Link
    addresses: tuple[str, ...] = ()
    result: Link | None = None

    def to_map(self) -> dict[str, Any]:
        """Return the entry."""
        found: dict[str, Any] = {
            "federation": to_text(self.federation),
            "delegation": to_text(self.delegation),
            "addresses": list(self.addresses[: DEFAULT.a2a_addresses]),
        }
        return found if self.result is None else {**found, "result": to_text(self.result)}


class Party(NamedTuple):
    """Whom an agent's card says that it speaks for.

    Attributes:
        federation, agent: ids.
        addresses: where its node is asked for records.
    """

    federation: Link
    agent: Link
    addresses: tuple[str, ...]


def attach(to: Message | Task, attached: Attached) -> None:
    """Put the entry into a message's or task's metadata, and name the extension where there is a place for that."""
    to.metadata.update({URI: attached.to_map()})
    if isinstance(to, Message) and URI not in to.extensions:
        to.extensions.append(URI)


def read(metadata: Struct) -> Attached | None:
    """Return the entry in metadata, None if there is none. Raises UsageError: `TSLG-U-DELEGATION`."""
    entry = _plain(metadata).get(URI)
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise refused("its entry is no map")
    result = entry.get("result")
    return Attached(
        _id(entry, "federation"),
        _id(entry, "delegation"),
        _addresses(entry.get("addresses", [])),
        None if result is None else _id(entry, "result"),
    )


def declare(card: AgentCard, party: Party, required: bool = True) -> None:
    """Say in a card that an agent works under delegations, and where its records are had.

    Args:
        card: the card; sign it afterwards.
        party: whom it speaks for.
        required: whether a message without a delegation is refused.
    """
    params = {
        "federation": to_text(party.federation),
        "agent": to_text(party.agent),
        "addresses": list(party.addresses[: DEFAULT.a2a_addresses]),
    }
    extension = AgentExtension(uri=URI, description=_ABOUT, required=required)
    extension.params.update(params)
    card.capabilities.extensions.append(extension)


def party_of(card: AgentCard) -> Party:
    """Return whom a card says that its agent speaks for; the card's word alone. Raises UsageError."""
    for extension in card.capabilities.extensions:
        if extension.uri == URI:
            params = _plain(extension.params)
            return Party(_id(params, "federation"), _id(params, "agent"), _addresses(params.get("addresses", [])))
    raise refused(f"the agent's card does not have the extension {URI}", "ask an agent that works under delegations")


def request_digest(message: Message) -> bytes:
    """Return the digest of what is asked for: it stands in the delegation, which allows this message and no other."""
    return digest({"message": message.message_id, "parts": _parts(message.parts)})


def answer_digest(artifacts: Iterable[Artifact], message: Message | None) -> bytes:
    """Return the digest of what came of it: the artifacts as they are in the end, and the last message."""
    told = [{"artifact": one.artifact_id, "name": one.name, "parts": _parts(one.parts)} for one in artifacts]
    return digest({"artifacts": told, "message": [] if message is None else _parts(message.parts)})


def refused(detail: str, mend: str = "") -> UsageError:
    """Return the error that says why a delegation, or a result, is not taken."""
    return UsageError(detail, code="TSLG-U-DELEGATION", mend=mend)


def _parts(parts: Iterable[Any]) -> list[Any]:
    return [_plain(part) for part in parts]


def _plain(message: Any) -> dict[str, Any]:
    """Return a part of a message as JSON has it. Raises UsageError for what it cannot say, such as infinity."""
    try:
        return dict(MessageToDict(message))
    except Error as error:
        raise refused("it holds a number that JSON does not know") from error


def _id(entry: Mapping[str, Any], name: str) -> Link:
    text = entry.get(name)
    try:
        return from_text(text if isinstance(text, str) and len(text) <= 2 * DEFAULT.cid_bytes else "")
    except TslgError as error:
        raise refused(f"its `{name}` is no id") from error


def _addresses(given: Any) -> tuple[str, ...]:
    """Return addresses of one node. Raises UsageError."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > DEFAULT.a2a_addresses:
        raise refused(f"its `addresses` are no list of up to {DEFAULT.a2a_addresses}")
    peers = {_peer(one) for one in given}
    if len(peers) > 1:
        raise refused("its `addresses` are of several nodes")
    return tuple(given)


def _peer(address: Any) -> str:
    from tslg.node.net.libp2p.dialer import parse_address

    try:
        if isinstance(address, str) and len(address) <= DEFAULT.a2a_address_characters:
            return str(parse_address(address)[0])
    except TslgError as error:
        raise refused("one of its `addresses` is none") from error
    raise refused("one of its `addresses` is none")
