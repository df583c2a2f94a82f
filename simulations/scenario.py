"""Scenarios: TOML files that say who takes part in a run, what goes wrong, and when. Errors name file, line and column.

Normative for the format: docs/guide/simulate.md lists every entry; what is not there is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from tslg.manifests.text_reader import Reader, shown
from tslg.protocol.errors import ManifestError, UsageError
from tslg.protocol.limits import DEFAULT
from tslg.simulations.chance import KINDS, Distribution
from tslg.simulations.network import Weather
from tslg.simulations.work import Habits

SIGNATURES: Final = ("real", "modelled")
SCHEMES: Final = ("multisig", "threshold")
WORKER: Final = "worker"
WITNESS: Final = "witness"
BREEDER: Final = "breeder"
HONEST: Final = (WORKER, BREEDER, WITNESS)
"""Behaviours of members that keep to the rules."""
PERJURER: Final = "perjurer"
WITNESSES: Final = (WITNESS, PERJURER)
"""Behaviours of members that are named as witnesses by the manifest."""
HOSTILE: Final = (
    "colluder",
    "counterfeiter",
    "denier",
    "eclipser",
    "equivocator",
    "flooder",
    "forger",
    "inventor",
    "liar",
    PERJURER,
    "rewriter",
    "splitter",
    "usurper",
    "widener",
    "withholder",
)
"""Behaviours of members that do not keep to the rules; see `tslg.simulations.adversaries`."""
FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "churn": ("share", "every_s"),
    "clog": ("others", "share"),
    "crash": ("share",),
    "one-way": ("others", "share"),
    "partition": ("others", "share"),
    "skew": ("share", "ms"),
    "slow-disk": ("share", "factor"),
}
"""Faults by kind, and what each takes beside `at_s`, `for_s` and `groups`."""
EVENTS: Final = ("amend", "rotate")
"""What a scenario can have happen at a moment."""
_SCENARIOS: Final = resources.files("tslg.simulations") / "scenarios"


@dataclass(frozen=True, slots=True)
class Group:
    """Members alike: how many, or which share of the others, what they do and how often."""

    name: str
    share: float = 1.0
    behaviour: str = WORKER
    every_s: float = 20.0
    delegates_to: tuple[str, ...] = ()
    habits: Habits = field(default_factory=Habits)
    count: int = 0

    @property
    def honest(self) -> bool:
        """Whether they keep to the rules."""
        return self.behaviour in HONEST


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong: from when on, for how long (s), to whom; see `FAULTS`."""

    kind: str
    at_s: float = 0.0
    for_s: float = 60.0
    groups: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    share: float = 0.2
    every_s: float = 30.0
    ms: int = 0
    factor: float = 10.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens at a moment; see `EVENTS`."""

    kind: str
    at_s: float
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """The weather from one group to another."""

    source: str
    target: str
    weather: Weather


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who takes part, what goes wrong, and what is to hold."""

    name: str
    description: str = ""
    signatures: str = "real"
    hours: float = 0.1
    agents: int = 12
    scheme: str = "multisig"
    anchors: int = 3
    threshold: int = 2
    attested: int = 0
    verify_depth: int | None = None
    gc_horizon_s: float = 0.0
    quorum: int = 0
    epoch_s: float = 60.0
    peers: int = 4
    hops: int = 4
    heartbeat_s: float = 0.0
    weather: Weather = field(default_factory=lambda: Weather(Distribution("constant", 20)))
    links: tuple[Link, ...] = ()
    groups: tuple[Group, ...] = ()
    faults: tuple[Fault, ...] = ()
    events: tuple[Event, ...] = ()
    fork_bound_s: int = 120

    @property
    def witnesses(self) -> int:
        """How many witnesses the manifest names."""
        return sum(group.count for group in self.groups if group.behaviour in WITNESSES)

    def changed(self, **values: Any) -> Scenario:
        """Return the scenario with these values in place of its own, None for those that stay."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})


def names() -> list[str]:
    """Return the names of the scenarios that come with the package."""
    return sorted(item.name.removesuffix(".toml") for item in _SCENARIOS.iterdir() if item.name.endswith(".toml"))


def load(name: str) -> Scenario:
    """Read a scenario that comes with the package, or a file. Raises UsageError."""
    if name in names():
        return read((_SCENARIOS / f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml")
    path = Path(name)
    if path.suffix != ".toml" or not path.is_file():
        known = ", ".join(names())
        raise UsageError(
            f"there is no scenario {name!r}", code="TSLG-U-SCENARIO", mend=f"name a .toml file, or one of {known}"
        )
    return read(path.read_text(encoding="utf-8"), name)


def read(text: str, file: str) -> Scenario:
    """Read the text of a scenario. Raises UsageError with every problem, one a line, each with line and column."""
    try:
        reader = _Reader(text, file)
        found = reader.scenario()
        reader.finish()
    except ManifestError as error:
        raise UsageError(error.detail, code="TSLG-U-SCENARIO", mend=error.mend or "correct it there") from error
    return found


_WEATHER: Final = ("loss", "duplicate", "reorder", "replay", "corrupt")
_SECONDS: Final = ("record_s", "audit_s", "delegate_s", "prune_s", "recall_s", "announce_s", "anchor_s")
_DAY: Final = 86_400.0
Where = tuple[str | int, ...]


class _Reader(Reader):
    """Reads the parts of a scenario, and notes what is wrong with each at its place."""

    def scenario(self) -> Scenario:
        top = self.table(
            self.value,
            (),
            ("scenario", "federation", "network", "links", "groups", "faults", "events", "invariants"),
            ("scenario", "groups"),
        )
        said: dict[str, Any] = {}
        self._scenario(top.get("scenario", {}), said)
        self._federation(top.get("federation", {}), said)
        self._network(top.get("network", {}), said)
        groups = tuple(self._each(top, "groups", self._group))
        self._known = [group.name for group in groups]
        if not groups and "groups" in top:
            self.problem(("groups",), "a scenario has at least one group")
        for index, group in enumerate(groups):
            self._named(group.delegates_to, ("groups", index, "delegates_to"))
            if group.name in self._known[:index]:
                self.problem(("groups", index, "name"), f"{shown(group.name)} is the name of another group")
        self._witnesses(top, groups, said)
        said["links"] = tuple(self._each(top, "links", self._link))
        said["faults"] = tuple(self._each(top, "faults", self._fault))
        said["events"] = tuple(self._each(top, "events", self._event))
        bounds = self.table(top.get("invariants", {}), ("invariants",), ("fork_bound_s",))
        if "fork_bound_s" in bounds:
            said["fork_bound_s"] = self.integer(
                bounds["fork_bound_s"], ("invariants", "fork_bound_s"), 1, int(_DAY), "how many seconds"
            )
        return Scenario(groups=groups, **({"name": ""} | said))

    def _witnesses(self, top: Mapping[str, Any], groups: Sequence[Group], said: Mapping[str, Any]) -> None:
        """Look whether the witnesses that there are can be as many as must cosign."""
        total = 0
        for index, group in enumerate(groups):
            if group.behaviour in WITNESSES:
                total += group.count
                if not group.count:
                    self.problem(("groups", index, "behaviour"), "a group of witnesses says with `count` how many")
        quorum = said.get("quorum", 0)
        if quorum > total or (total and not quorum) or total > DEFAULT.note_signatures:
            most = min(total, DEFAULT.note_signatures)
            at: Where = ("federation", "quorum") if quorum else ("groups",)
            allowed = f"an integer from 1 to {most}" if most else "0, since no group has witnesses"
            self.problem(at, f"`federation.quorum` must be {allowed}: how many of the {total} witnesses cosign")

    def _scenario(self, value: Any, said: dict[str, Any]) -> None:
        at: Where = ("scenario",)
        table = self.table(value, at, ("name", "description", "signatures", "hours", "agents"), ("name",))
        for name in ("name", "description"):
            if name in table:
                said[name] = self.name(table[name], (*at, name))
        if "signatures" in table:
            said["signatures"] = self._one(table["signatures"], (*at, "signatures"), SIGNATURES)
        if "hours" in table:
            said["hours"] = self._number(table["hours"], (*at, "hours"), 0.0, 24.0 * 365)
        if "agents" in table:
            said["agents"] = self.integer(table["agents"], (*at, "agents"), 1, 1_000_000, "how many agents")

    def _federation(self, value: Any, said: dict[str, Any]) -> None:
        at: Where = ("federation",)
        known = ("scheme", "anchors", "threshold", "attested", "verify_depth", "gc_horizon_s", "quorum", "epoch_s")
        table = self.table(value, at, known)
        if "scheme" in table:
            said["scheme"] = self._one(table["scheme"], (*at, "scheme"), SCHEMES)
        anchors = said["anchors"] = self.integer(table.get("anchors", 3), (*at, "anchors"), 1, 64, "how many there are")
        given = table.get("threshold", min(2, anchors))
        said["threshold"] = self.integer(given, (*at, "threshold"), 1, anchors, "how many of the anchors sign")
        attested = table.get("attested", 0)
        said["attested"] = self.integer(attested, (*at, "attested"), 0, anchors, "how many of the anchors attest")
        if "verify_depth" in table:
            said["verify_depth"] = self._depth(table["verify_depth"], (*at, "verify_depth"))
        if "gc_horizon_s" in table:
            said["gc_horizon_s"] = self._number(table["gc_horizon_s"], (*at, "gc_horizon_s"), 0.0, _DAY)
        if "quorum" in table:
            most = DEFAULT.note_signatures
            said["quorum"] = self.integer(table["quorum"], (*at, "quorum"), 0, most, "how many witnesses cosign")
        if "epoch_s" in table:
            said["epoch_s"] = self._number(table["epoch_s"], (*at, "epoch_s"), 1.0, _DAY)

    def _network(self, value: Any, said: dict[str, Any]) -> None:
        at: Where = ("network",)
        table = self.table(value, at, ("peers", "hops", "heartbeat_s", "latency", "bytes_per_ms", *_WEATHER))
        if "heartbeat_s" in table:
            said["heartbeat_s"] = self._number(table["heartbeat_s"], (*at, "heartbeat_s"), 0.0, _DAY)
        for name, most in (("peers", 64), ("hops", 64)):
            if name in table:
                said[name] = self.integer(table[name], (*at, name), 1, most, f"how many {name}")
        said["weather"] = self._weather(table, at)

    def _weather(self, table: Mapping[str, Any], at: Where) -> Weather:
        latency = Distribution("constant", 20)
        if "latency" in table:
            latency = self._distribution(table["latency"], (*at, "latency"))
        odds = {name: self._number(table[name], (*at, name), 0.0, 1.0) for name in _WEATHER if name in table}
        room = self.integer(table.get("bytes_per_ms", 0), (*at, "bytes_per_ms"), 0, 10**9, "how many bytes pass")
        return Weather(latency, bytes_per_ms=room, **odds)

    def _distribution(self, value: Any, at: Where) -> Distribution:
        usual = Distribution("constant", 20)
        kind = self._kind(value, at, KINDS)
        if kind is None:
            return usual
        wanted = KINDS[kind]
        table = self.table(value, at, ("kind", "ms", *wanted), ("ms", *wanted))
        given = {name: self._number(table[name], (*at, name), 0.001, 3_600_000.0) for name in table if name != "kind"}
        return Distribution(kind, **given) if given.keys() == {"ms", *wanted} else usual

    def _group(self, value: Any, at: Where) -> Group:
        own = ("name", "share", "count", "behaviour", "every_s", "delegates_to")
        habits = tuple(one.name for one in fields(Habits))
        table = self.table(value, at, (*own, *habits), ("name",))
        said: dict[str, Any] = {"name": self.name(table.get("name", "?"), (*at, "name"))}
        if "share" in table:
            said["share"] = self._number(table["share"], (*at, "share"), 0.0, 1e6)
        if "count" in table:
            said["count"] = self.integer(table["count"], (*at, "count"), 1, 1_000_000, "how many members")
        if "behaviour" in table:
            said["behaviour"] = self._one(table["behaviour"], (*at, "behaviour"), (*HONEST, *HOSTILE))
        if "every_s" in table:
            said["every_s"] = self._number(table["every_s"], (*at, "every_s"), 0.001, _DAY)
        if "delegates_to" in table:
            said["delegates_to"] = tuple(self.names(table["delegates_to"], (*at, "delegates_to")))
        return Group(habits=self._habits(table, at), **said)

    def _habits(self, table: Mapping[str, Any], at: Where) -> Habits:
        said: dict[str, Any] = {}
        for name in _SECONDS:
            if name in table:
                said[name] = self._number(table[name], (*at, name), 0.0, _DAY)
        for name, most in (("hops", 32), ("follow", 1_000), ("think_ms", 3_600_000)):
            if name in table:
                said[name] = self.integer(table[name], (*at, name), 0, most, "how many")
        if "depths" in table:
            depths = table["depths"]
            if not isinstance(depths, list) or not depths:
                self.problem((*at, "depths"), f'must be a list of depths or "unbounded", not {shown(depths)}')
            else:
                said["depths"] = tuple(self._depth(one, (*at, "depths", i)) for i, one in enumerate(depths))
        return Habits(**said)

    def _fault(self, value: Any, at: Where) -> Fault:
        kind = self._kind(value, at, FAULTS)
        if kind is None:
            return Fault("crash")
        table = self.table(value, at, ("kind", "at_s", "for_s", "groups", *FAULTS[kind]))
        said: dict[str, Any] = {"kind": kind}
        for name, low in (("at_s", 0.0), ("for_s", 0.0), ("every_s", 0.1), ("factor", 0.1)):
            if name in table:
                said[name] = self._number(table[name], (*at, name), low, _DAY * 365)
        if "share" in table:
            said["share"] = self._number(table["share"], (*at, "share"), 0.0, 1.0)
        if "ms" in table:
            said["ms"] = self.integer(table["ms"], (*at, "ms"), -86_400_000, 86_400_000, "by how much clocks are off")
        for name in ("groups", "others"):
            if name in table:
                said[name] = tuple(self.names(table[name], (*at, name)))
                self._named(said[name], (*at, name))
        return Fault(**said)

    def _event(self, value: Any, at: Where) -> Event:
        table = self.table(value, at, ("kind", "at_s", "groups"), ("kind", "at_s"))
        kind = self._one(table.get("kind"), (*at, "kind"), EVENTS)
        groups = tuple(self.names(table["groups"], (*at, "groups"))) if "groups" in table else ()
        self._named(groups, (*at, "groups"))
        return Event(kind, self._number(table.get("at_s", 0.0), (*at, "at_s"), 0.0, _DAY * 365), groups)

    def _link(self, value: Any, at: Where) -> Link:
        table = self.table(value, at, ("from", "to", "latency", "bytes_per_ms", *_WEATHER), ("from", "to"))
        ends = [self.name(table.get(name, "?"), (*at, name)) for name in ("from", "to")]
        for name, end in zip(("from", "to"), ends, strict=True):
            self._named((end,), (*at, name))
        return Link(ends[0], ends[1], self._weather(table, at))

    # --- shapes ------------------------------------------------------------------------------------------------------

    def _each(self, top: Mapping[str, Any], name: str, read_one: Any) -> list[Any]:
        value = top.get(name, [])
        if not isinstance(value, list):
            self.problem((name,), f"must be written as [[{name}]], not {shown(value)}")
            return []
        return [read_one(one, (name, index)) for index, one in enumerate(value)]

    def _kind(self, value: Any, at: Where, allowed: Mapping[str, Any]) -> str | None:
        """Return the `kind` of a table, None if it is not one of those allowed."""
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if type(kind) is str and kind in allowed:
            return kind
        self.problem((*at, "kind"), f"must be one of {', '.join(sorted(allowed))}, not {shown(kind)}")
        return None

    def _named(self, groups: Sequence[str], at: Where) -> None:
        for name in groups:
            if name not in self._known:
                self.problem(at, f"there is no group {shown(name)}; there are {', '.join(self._known)}")

    def _one(self, value: Any, at: Where, allowed: Sequence[str]) -> str:
        if value in allowed:
            return str(value)
        self.problem(at, f"must be one of {', '.join(allowed)}, not {shown(value)}")
        return allowed[0]

    def _number(self, value: Any, at: Where, low: float, high: float) -> float:
        if type(value) in (int, float) and low <= value <= high:
            return float(value)
        self.problem(at, f"must be a number from {low:g} to {high:g}, not {shown(value)}")
        return low

    def _depth(self, value: Any, at: Where) -> int | None:
        if value == "unbounded":
            return None
        if type(value) is int and 0 <= value <= 1_000_000:
            return value
        self.problem(at, f'must be a number of edges or "unbounded", not {shown(value)}')
        return None
