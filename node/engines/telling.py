"""What is told of engines and of what they handed in, to programs and for people."""

from __future__ import annotations

from typing import Any, NamedTuple

from tslg.node.context import StoreContext
from tslg.node.engines.admission import Admission
from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError, NetworkError
from tslg.protocol.pushing import Submitted


class OwnAgent(NamedTuple):
    """An agent whose key is in a data directory, by id and name."""

    id: Link
    name: str


def told(answer: Submitted) -> dict[str, Any]:
    """Return the answer to a submission as a map, with its ids as links."""
    return {**answer._asdict(), "steps": list(answer.steps), "taken": list(answer.taken)}


def read_told(value: Any) -> Submitted:
    """Read what `told` returned. Raises NetworkError."""
    try:
        return Submitted.from_bytes(codec.encode(value))
    except (CodecError, NetworkError) as error:
        raise NetworkError(
            f"the node answered with what is no answer to a submission: {error.detail}", code="TSLG-N-MESSAGE"
        ) from error


def described_engine(store: Store, context: StoreContext, admission: Admission, ended: str) -> dict[str, Any]:
    """Return what is known of an engine that is admitted here, or was."""
    engine: Link = admission.engine
    state, genesis = store.log_state(engine), context.record(engine)
    return {
        "engine": engine,
        "name": None if genesis is None else genesis.body["name"],
        "tenant": admission.tenant,
        "delegation": admission.delegation.id,
        "expires": admission.delegation.body["expires"],
        "ended": ended or None,
        "terms": {**admission.terms._asdict(), "kinds": list(admission.terms.kinds)},
        "records": 0 if state is None else state.size,
        "forked": bool(store.forks(engine)),
    }
