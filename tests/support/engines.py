"""A tenant's directory and those of engines, in one federation whose anchor is at hand."""

from __future__ import annotations

from reading import home, member, toml

from tslg.node.adopting import keep
from tslg.node.engines.admission import Terms
from tslg.node.engines.intake import Intake
from tslg.node.engines.submission import write
from tslg.node.sources import StoreSource
from tslg.node.verifying import walk

DAY = 86_400_000
TERMS = Terms()


class Works:
    """A tenant that admits an engine, each with a directory of its own."""

    def __init__(self, path, text=None, terms=TERMS, admit=True) -> None:
        self.text = toml() if text is None else text
        self.path = path
        self.tenant, self.maker = home(path, self.text, "tenant"), home(path, self.text, "maker")
        self.desk, self.engine = member(self.tenant, self.text, "desk"), member(self.maker, self.text, "engine")
        self.intake = Intake(self.tenant)
        self.delegation = self.admit(self.engine, terms) if admit else None

    def admit(self, engine, terms=TERMS, expires=None):
        """Admit an engine, and let its directory have the delegation."""
        envelope = self.tenant.manifest.envelope
        policy = self.desk.policy("steps", classes=envelope.classes, tiers=envelope.tiers)
        expires = self.tenant.clock() + DAY if expires is None else expires
        delegation = self.desk.delegate(engine.id, terms.task(), policy, expires=expires)
        bring(self.tenant, self.maker, delegation.id)
        return delegation

    def steps(self, count, **how):
        """Let the engine record so many steps under its delegation."""
        from steps import step

        how.setdefault("delegation", self.delegation)
        return [step(self.engine, n, **how) for n in range(count)]

    def stretch(self, start=0, engine=None, at=None):
        """Return a submission of the engine's."""
        return write(at or self.maker, (engine or self.engine).id, start).data

    def hand_in(self, start=0, source="a peer"):
        """Submit, and return the answer."""
        return self.intake.submit(self.stretch(start), source)

    def taken(self):
        """Return the tenant's records that take steps up, the oldest first."""
        ids = self.tenant.store.by_kind("observation", self.desk.id)
        records = [self.tenant.ledger.context.record(id) for id in ids]
        return sorted((one for one in records if one.body["source"] == "engine"), key=lambda one: one.seq)

    def close(self):
        """Close both directories."""
        self.tenant.close()
        self.maker.close()


def bring(source, target, id):
    """Have a directory keep what another one can show of a record."""
    walked = walk(StoreSource(source.store), id, source.federation, now_ms=source.clock())
    assert walked.report.verdict == "valid"
    keep(target.ledger, walked, source="peer", now_ms=target.clock())
