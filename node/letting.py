"""What an agent says of who may read its records, and under which peer id it reads those of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tslg.node.authoring import Reference, reference_id
from tslg.node.stepping import Stepping
from tslg.protocol.record import Record


class Letting(Stepping):
    """The methods by which an agent lets others read, keeps from them, and binds peers."""

    def register_peer(self, peer_id: bytes, addresses: Iterable[str] = ()) -> Record:
        """Bind a peer id to this agent, so that whoever asks under it reads what the agent may; `revoke` ends that.

        Args:
            peer_id: the multihash of a libp2p peer id.
            addresses: where that peer answers, if it does.

        Raises:
            Refusal: it is none of 1 to 64 bytes.
        """
        body = {"purpose": "peer", "peer_id": peer_id, "addresses": sorted(set(addresses))}
        return self._append("registration", body)

    def access_rule(
        self,
        effect: str,
        *,
        agents: Iterable[Reference] = (),
        groups: Iterable[str] = (),
        peers: Iterable[Reference] = (),
        records: Iterable[Reference] | None = None,
        kinds: Iterable[str] | None = None,
        first: int | None = None,
        last: int | None = None,
        fields: Iterable[str] | None = None,
        expires: int | None = None,
        reason: str | None = None,
    ) -> Record:
        """Record who may read which of this agent's records, within what the manifest allows; `retract` ends it.

        Args:
            effect: `grant` lets these readers read; `restrict` keeps it from everybody else.
            agents, groups, peers: the readers: agents; `anyone`, `members`, `parties`; members of peer sets.
            records, kinds, first, last: which records, all that each of them leaves.
            fields: the committed fields that it is about; whole records by default.
            expires: until when (ms), for good by default.
            reason: why, for everybody to read who may read the rule.

        Raises:
            Refusal: `TSLG-A-ACCESS`: the manifest does not let it, or another agent's records are named.
        """
        readers = {
            "agents": sorted(map(reference_id, agents)),
            "groups": sorted(set(groups)),
            "peers": sorted(map(reference_id, peers)),
        }
        about: dict[str, Any] = {
            "records": None if records is None else sorted(map(reference_id, records)),
            "kinds": None if kinds is None else sorted(set(kinds)),
            "first": first,
            "last": last,
            "fields": None if fields is None else sorted(set(fields)),
            "reason": reason,
        }
        given = {name: value for name, value in about.items() if value is not None}
        return self._append("access-rule", {"effect": effect, "readers": readers, "expires": expires, **given})
