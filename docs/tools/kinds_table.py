"""Write the tables of docs/spec/kinds.md from the table of kinds that the code runs on.

Run from anywhere: `python docs/tools/kinds_table.py`. A test holds that the committed page is up to date.
"""

from __future__ import annotations

from pathlib import Path

from tslg.protocol.kinds import CLASSES, KINDS, Kind

PAGE = Path(__file__).resolve().parent.parent / "spec" / "kinds.md"
START, END = "<!-- tables -->\n", "<!-- end of tables -->\n"


def tables() -> str:
    """Return the tables of classes and kinds, and the fields of each kind's body, as Markdown."""
    lines = ["", "## Classes", "", "| class | the predecessor is |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in CLASSES.items()]
    lines += ["", "## Kinds", "", "| kind | meaning | in the log of | starts it | mandatory | also allowed |"]
    lines += ["|---|---|---|---|---|---|", *map(_row, KINDS.values()), "", "## Bodies"]
    for kind in KINDS.values():
        lines += ["", f"### {kind.name}", "", "| field | type | |", "|---|---|---|"]
        for name, field in kind.fields.items():
            lines.append(f"| `{name}` | {field.type} | {'required' if field.required else 'optional'} |")
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


def _names(classes: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(classes))


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
