"""The messages by which a peer presents the registrations that bind it to agents. Normative: docs/spec/access.md."""

from __future__ import annotations

from typing import NamedTuple

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.exchange import MessageError, Pair, read_map, read_pairs, travelling
from tslg.protocol.limits import DEFAULT, Limits


class PresentRequest(NamedTuple):
    """Present the registrations that bind the asking peer to agents, and the records that these rest on."""

    pairs: tuple[Pair, ...]

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return codec.encode({"op": "present", "records": [travelling(pair) for pair in self.pairs]})


def read_present(data: bytes, limits: Limits = DEFAULT) -> PresentRequest | None:
    """Read a request about logs if it is this one; None if it is another. Raises MessageError."""
    value = read_map(data)
    if value.get("op") != "present":
        return None
    pairs = read_pairs(value.get("records"), limits)
    if value.keys() != {"op", "records"} or len(pairs) > limits.presented_records:
        raise MessageError(f"malformed message: at most {limits.presented_records} records")
    return PresentRequest(tuple(pairs))


class PresentReply(NamedTuple):
    """The agents to which the asking peer is bound from now on, as far as the server believes its registrations."""

    agents: tuple[Link, ...]

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode({"agents": list(self.agents)})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> PresentReply:
        """Read the chunk. Raises MessageError."""
        value = read_map(data)
        agents = value.get("agents")
        well = value.keys() == {"agents"} and type(agents) is list and len(agents) <= limits.bound_agents
        if not well or not all(type(one) is Link and cid.is_record_id(one) for one in agents or ()):
            raise MessageError("malformed message: agents")
        return cls(tuple(agents or ()))
