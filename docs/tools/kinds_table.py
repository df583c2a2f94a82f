"""Write the tables of docs/spec/kinds.md from the table of kinds that the code runs on.

Run from anywhere: `python docs/tools/kinds_table.py`. A test holds that the committed page is up to date.
"""

from __future__ import annotations

from pathlib import Path

from tslg.protocol.classes import CLASSES, ELSEWHERE, Leads
from tslg.protocol.kinds import KINDS, Kind

PAGE = Path(__file__).resolve().parent.parent / "spec" / "kinds.md"
START, END = "<!-- tables -->\n", "<!-- end of tables -->\n"


def tables() -> str:
    """Return the tables of classes and kinds, and the fields of each kind's body, as Markdown."""
    lines = ["", "## Classes", "", "| class | the predecessor is | in which log | of which kinds | with the field |"]
    lines += ["|---|---|---|---|---|"]
    lines += [f"| `{name}` | {one.meaning} | {_leads(one.leads)} |" for name, one in CLASSES.items()]
    lines += ["", "## Exceptions", "", "| kind | class | in which log | of which kinds | with the field |"]
    lines += ["|---|---|---|---|---|"]
    lines += [f"| `{kind}` | `{name}` | {_leads(where)} |" for (kind, name), where in ELSEWHERE.items()]
    lines += ["", "## Kinds", "", "| kind | meaning | in the log of | starts it | mandatory | also allowed |"]
    lines += ["|---|---|---|---|---|---|", *map(_row, KINDS.values()), "", "## Bodies"]
    for kind in KINDS.values():
        lines += ["", f"### {kind.name}", "", "| field | type | |", "|---|---|---|"]
        for name, field in kind.fields.items():
            mark = ", committed" if name in kind.committed else ""
            lines.append(f"| `{name}` | {field.type} | {'required' if field.required else 'optional'}{mark} |")
    return "\n".join([*lines, "", ""])


def updated(page: str) -> str:
    """Return the page with its tables made anew."""
    before, rest = page.split(START)
    _, after = rest.split(END)
    return before + START + tables() + END + after


def _row(kind: Kind) -> str:
    also = kind.allowed - kind.mandatory
    cells = [
        f"`{kind.name}`",
        kind.meaning,
        kind.issuer,
        "yes" if kind.first else "",
        _names(kind.mandatory),
        _names(also),
    ]
    return "| " + " | ".join(cells) + " |"


def _leads(where: Leads) -> str:
    kinds = "any" if where.kinds is None else _names(where.kinds)
    return f"{where.log or 'any'} | {kinds} | " + ("" if where.field is None else f"`{where.field}`")


def _names(classes: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(classes))


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
