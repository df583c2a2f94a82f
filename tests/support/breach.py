"""The scene in which records break rules of admission, and the table of those that do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from world import NOW, ONE, Author, World

from tslg.protocol.cid import compute
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Rule

NOWHERE = compute(b"a record that nobody has")
OPEN = ONE.format(attested=0)
ATTESTED = ONE.format(attested=1)
CLOSED = OPEN.replace("[envelope]\n", '[envelope]\ncross_agent = { kinds = ["policy", "delegation"] }\n')


class Scene(World):
    """Two agents, the first of which delegated a policy to the second."""

    def __init__(self, toml: str = OPEN) -> None:
        super().__init__(toml)
        self.a, self.b = self.agent("a"), self.agent("b")
        self.policy = self.add(self.a, "policy")
        self.seen = self.add(self.a, "observation")
        self.granted = self.add(
            self.a,
            "delegation",
            {"delegate": self.b.owner, "grant": self.policy.id, "hops": 2},
            {"policy": [self.policy]},
        )

    def sealed(self, author: Author, kind: str, *args: object, **fields: object) -> tuple[Record, bytes]:
        """Return a record that is sealed well, and not admitted."""
        record = self.make(author, kind, *args, **fields)
        return record, self.seal(record, author)

    def take(self, sealed: tuple[Record, bytes]) -> Record:
        """Admit a record of the first agent's that is sealed."""
        self.admit(*sealed, self.a)
        return sealed[0]

    def under(self, **body: object) -> dict[str, object]:
        """Return the body of a policy of the delegate's own that keeps to the delegation."""
        return {"not_after": NOW + 400_000} | body

    def derived(self, **body: object) -> Record:
        """Admit a policy of the delegate's own under the delegation."""
        preds = {"prior": [self.b.last], "policy": [self.policy], "delegation": [self.granted]}
        return self.add(self.b, "policy", self.under(**body), preds)


Breach = Callable[[Scene], tuple[Record, bytes]]


@dataclass(frozen=True)
class Case:
    """A record that breaks one rule: its code, what the refusal says, and whether no other rule minds."""

    name: str
    code: str
    rule: Rule
    detail: str
    breach: Breach
    toml: str
    alone: bool


CASES: list[Case] = []


def breaks(rule: Rule, code: str, detail: str, *, toml: str = OPEN, alone: bool = True) -> Callable[[Breach], Breach]:
    def register(breach: Breach) -> Breach:
        CASES.append(Case(breach.__name__, f"TSLG-A-{code}", rule, detail, breach, toml, alone))
        return breach

    return register


def amending(
    w: Scene, body: dict[str, object], amends: list[Record] | None = None, **fields: object
) -> tuple[Record, bytes]:
    """Return the next manifest version, sealed by the anchors and not admitted."""
    newest = w.held[w.newest_manifest]
    record = w.make(w.anchors, "manifest-amendment", body, {"amends": amends or [newest]}, **fields)
    return record, w.seal(record, w.anchors)
