"""What the commands that record have in common: who records, what is cited and claimed, and what they print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar, cast

import click

from tslg.node.cli.access import data_dir, data_option, find_log, find_record, read_home, write_home
from tslg.node.cli.given import given_amounts
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.agent import BlockingAgent
    from tslg.node.home import Home
    from tslg.protocol.codec import Link
    from tslg.protocol.errors import StoreError
    from tslg.protocol.record import Record

C = TypeVar("C", bound=Callable[..., Any])


class _Named(Protocol):
    @property
    def name(self) -> str: ...


A = TypeVar("A", bound=_Named)

WEIGHED: Final = ("absence", "consensus", "counterfactual", "counters", "joint", "observes", "part")
"""Further classes under which whatever an agent does may cite: `authoring.WEIGHED`, which `--help` need not import."""


class Author(NamedTuple):
    """Who records, and where."""

    home: Home
    agent: BlockingAgent

    def ids(self, texts: Iterable[str]) -> list[Link] | None:
        """Return the records that are cited, by id or its beginning; None for none."""
        return [find_record(self.home.store, text) for text in texts] or None


def common(command: C) -> C:
    """Add what every command that records is given: the data directory, the agent, and the form of the answer."""
    command = json_option(command)
    command = click.option("--agent", "author", help="The agent that records, by name.  [the only one here]")(command)
    return data_option(command)


def cites(*names: str) -> Callable[[C], C]:
    """Add options for the records cited under these classes."""

    def add(command: C) -> C:
        for name in reversed(names):
            command = click.option(f"--{name}", multiple=True, metavar="ID", help=f"Cite as {name}; repeat.")(command)
        return command

    return add


def agent_id(home: Home, text: str) -> Link:
    """Return the id of an agent: whole, of which nothing need be held, or by name or beginning of one that is."""
    from tslg.protocol.cid import from_text
    from tslg.protocol.errors import CidError

    try:
        return from_text(text)
    except CidError:
        return find_log(home.store, text)


def chosen_agent(home: Home, name: str | None) -> BlockingAgent:
    """Return the agent of this name, or the only one there is. Raises as `only_agent`."""
    return only_agent(home.agents, name, home.path)


def only_agent(agents: Sequence[A], name: str | None, path: Path) -> A:
    """Return the agent of this name, or the only one there is.

    Raises:
        UsageError: there is none, or several and none is named.
    """
    from tslg.protocol.errors import UsageError

    names = ", ".join(agent.name for agent in agents)
    found = [agent for agent in agents if name is None or agent.name == name]
    if len(found) == 1:
        return found[0]
    if not agents:
        raise UsageError(f"no agents in {path}", mend="make one with `tslg agent new NAME`")
    if name is None:
        raise UsageError(f"several agents are here: {names}", code="TSLG-U-AMBIGUOUS", mend="name one with --agent")
    raise UsageError(f"no agent {name[:80]!r} here", code="TSLG-U-UNKNOWN", mend=f"there are {names}")


@contextmanager
def author_of(options: Mapping[str, Any]) -> Iterator[Author]:
    """Open the data directory for the agent that records, for as long as the block lasts.

    Where a node runs on it, the agent is the node's, and records through its local interface.
    """
    from tslg.protocol.errors import StoreError

    try:
        home = write_home(options["data"])
    except StoreError as error:
        if error.code != "TSLG-D-LOCKED":
            raise
        with _author_of_node(options, error) as author:
            yield author
        return
    with home:
        yield Author(home, chosen_agent(home, options["author"]))


@contextmanager
def _author_of_node(options: Mapping[str, Any], locked: StoreError) -> Iterator[Author]:
    """Find the agent of the node that runs on the data directory; raise `locked` if whatever holds it is no node."""
    from tslg.node.api.client import LocalNode
    from tslg.protocol.errors import NetworkError

    path = data_dir(options["data"])
    try:
        node = LocalNode(path)
        found = node.agents()
    except NetworkError:
        raise locked from None
    with node, read_home(options["data"]) as home:
        # It offers those methods of an agent that record, by which it stands in for one here.
        yield Author(home, cast("BlockingAgent", only_agent(found, options["author"], path)))


def claims_of(author: Author, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record cites and claims, as arguments of the agent's methods."""
    claims: dict[str, Any] = {name: author.ids(options[name]) for name in ("policy", "evidence", "delegation")}
    claims |= {name: author.ids(options[name]) for name in WEIGHED if options[name]}
    if options["uses"]:
        claims["uses"] = options["uses"]
    if options["spends"]:
        claims["spends"] = given_amounts(options["spends"])
    for name in ("class_", "tier"):
        if options[name] is not None:
            claims[name] = options[name]
    if options.get("principal") is not None:
        claims["principal"] = agent_id(author.home, options["principal"])
    return claims


def done(made: Record, options: Mapping[str, Any]) -> None:
    """Print the id of what was recorded."""
    from tslg.protocol.cid import to_text

    id = to_text(made.id)
    emit({"record": id, "kind": made.kind, "agent": to_text(made.owner), "seq": made.seq}, options["as_json"], id)
