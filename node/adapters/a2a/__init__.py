"""A2A: delegations travel with the messages of agents that speak to each other over A2A, and results come back.

`Delegator` is the caller's side, `Delegate` wraps the executor of the one that is called, `current` tells that executor
under what it works, and `declare` names it in an agent's card. See docs/guide/a2a.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from tslg.protocol.errors import UsageError

if TYPE_CHECKING:
    from tslg.node.adapters.a2a.delegate import Delegate as Delegate
    from tslg.node.adapters.a2a.delegate import current as current
    from tslg.node.adapters.a2a.delegator import Delegator as Delegator
    from tslg.node.adapters.a2a.extension import declare as declare

_WHERE: Final = {"Delegate": "delegate", "current": "delegate", "Delegator": "delegator", "declare": "extension"}


def __getattr__(name: str) -> Any:
    # Imported on first use: A2A's own library is an extra.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    except ModuleNotFoundError as error:
        raise UsageError(
            "A2A's own library is not installed",
            code="TSLG-U-EXTRA",
            mend="install tslg with its extra: pip install 'tslg[a2a]'",
        ) from error
