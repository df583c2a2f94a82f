"""Under which policy records a gate's steps are taken: its policy on record, cut down to the grant of a delegation.

A policy that is on record already in the same words is used again; one in other words amends it, so that the old words
authorise nothing from then on.
"""

from __future__ import annotations

import threading
from typing import Any, Final, NamedTuple

from tslg.node.agent import BlockingAgent
from tslg.node.authoring import References, listed, reference_id
from tslg.node.governing.policy_file import MEDIA_TYPE, Compiled
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.governing.policy import Policy
from tslg.protocol.record import Record

_KEPT: Final = 1_024


class Authority(NamedTuple):
    """What a step is judged by and cites.

    Attributes:
        policy: the terms and rules that hold for it.
        cedar: Cedar texts that must all permit it.
        record: the policy record.
        delegations: what it rests on.
    """

    policy: Policy
    cedar: tuple[str, ...]
    record: Link
    delegations: tuple[Link, ...] = ()


class Authorities:
    """The authorities of one gate. Safe to use from several threads.

    Args:
        agent: who acts.
        compiled: the gate's policy.
        recording: held while a policy is looked up and recorded; all gates of an agent share it.
    """

    def __init__(self, agent: BlockingAgent, compiled: Compiled, recording: threading.Lock) -> None:
        self._agent = agent
        self._recording = recording
        self._compiled = compiled
        self._document = agent.blob(compiled.text, MEDIA_TYPE)
        self._lock = threading.Lock()
        self._narrowed: dict[tuple[Link, ...], Authority] = {}
        cedar = () if compiled.cedar is None else (compiled.cedar,)
        own = self._on_record(compiled.body(self._document), ())
        self.own = Authority(compiled.policy, cedar, own)

    def of(self, delegation: References) -> Authority:
        """Return the authority of a step that is taken under these delegations; without one, the gate's own.

        Raises:
            UsageError: one is not held here, or is no delegation. Refusal: it does not confer what it says.
        """
        if delegation is None:
            return self.own
        ids = tuple(sorted({reference_id(one) for one in listed(delegation)}))
        if not ids:
            return self.own
        with self._lock:
            found = self._narrowed.get(ids)
            if found is None:
                if len(self._narrowed) >= _KEPT:
                    self._narrowed.clear()
                found = self._narrowed[ids] = self._narrow(ids)
            return found

    def _narrow(self, ids: tuple[Link, ...]) -> Authority:
        """Record the gate's policy as far as the delegations' grants reach."""
        delegations = [self._held(id, "delegation") for id in ids]
        grants = [self._held(one.body["grant"], "policy") for one in delegations]
        policy, texts = self._compiled.policy, dict.fromkeys(self.own.cedar)
        for grant in grants:
            policy = policy.within(grant.body)
            texts |= dict.fromkeys([grant.body["cedar"]] if "cedar" in grant.body else [])
        body = self._compiled.body(self._document)
        body |= {
            "name": f"{policy.name[:200]} under {len(ids)}",
            "capabilities": sorted(policy.capabilities),
            "limits": dict(policy.limits),
            "classes": sorted(policy.classes),
            "tiers": sorted(policy.tiers),
        }
        held = next((grant.body["cedar"] for grant in grants if "cedar" in grant.body), None)
        if held is not None:
            body["cedar"] = held
        windows = [body, *(grant.body for grant in grants)]
        starts = [one["not_before"] for one in windows if one["not_before"] is not None]
        ends = [one["not_after"] for one in windows if one["not_after"] is not None]
        body["not_before"] = max(starts, default=None)
        body["not_after"] = min([*ends, *(one.body["expires"] for one in delegations)])
        record = self._on_record(body, ids, tuple(grant.id for grant in grants))
        return Authority(policy, tuple(texts), record, ids)

    def _held(self, id: Link, kind: str) -> Record:
        record = self._agent._held(id)
        if record.kind != kind:
            raise UsageError(f"that is a {record.kind} and no {kind}", mend="cite a delegation", record=id)
        return record

    def _on_record(self, body: dict[str, Any], delegations: tuple[Link, ...], under: tuple[Link, ...] = ()) -> Link:
        """Return the policy record with this body, made if there is none in force."""
        with self._recording:
            return self._found_or_made(body, delegations, under)

    def _found_or_made(self, body: dict[str, Any], delegations: tuple[Link, ...], under: tuple[Link, ...]) -> Link:
        agent = self._agent
        context, store = agent._ledger.context, agent._ledger.store
        key = f"gate/{to_text(agent.id)}/{body['name']}" + "".join(f"/{to_text(id)}" for id in delegations)
        known = store.get_meta(key)
        amends = None
        if known is not None:
            newest = agent._newest_version(Link(known))
            record = context.record(newest)
            withdrawn = any(one.kind != "policy" for one in context.superseding(newest))
            if record is not None and not withdrawn:
                if dict(record.body) == body:
                    return record.id
                amends = newest
        made = agent._policy_record(body, under=under or None, amends=amends, delegation=delegations or None)
        store.set_meta(key, made.id)
        return made.id
