"""A report as one HTML page that needs nothing else: no scripts, no fonts, no pictures, nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from typing import Final

from tslg.node.cli.describing import plain, what, when, who
from tslg.node.cli.reporting import facts, freshness_text
from tslg.node.cli.tree import tree_lines
from tslg.protocol.cid import to_text
from tslg.protocol.report import Report

_MOST: Final = 1_000
"""Rows of one table; the JSON report has all."""

_PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$verdict: $target</title>
<style>
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
.valid { color: #1a7f37; } .invalid { color: #cf222e; } .undetermined { color: #9a6700; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
code { overflow-wrap: anywhere; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .8rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); }
</style>
</head>
<body>
<h1 class="$verdict">$verdict</h1>
<p><code>$target</code><br>federation <code>$federation</code></p>
$sections
</body>
</html>
""")


def page(report: Report) -> str:
    """Return the page. Everything in it that others wrote is escaped."""
    names = {agent.id: agent.name for agent in report.agents}
    sections = [
        _table(
            "Broken rules",
            ("rule", "what is wrong", "record"),
            [(item.code, plain(item.detail, 300), to_text(item.record)) for item in report.findings],
        ),
        _table(
            "Undetermined",
            ("reason", "record"),
            [(plain(item.reason, 300), to_text(item.record)) for item in report.undetermined],
        ),
        _section("Ancestry", f"<pre>{escape(chr(10).join(tree_lines(report)))}</pre>" if report.records else ""),
        _table("The walk", ("", ""), list(facts(report))),
        _table(
            "Freshness",
            ("log", "what is known of its tail"),
            [(who(item.agent, names), freshness_text(item)) for item in report.freshness],
        ),
        _table(
            "Frontier",
            ("log", "stopped at", "records before", "root"),
            [(who(e.agent, names), to_text(e.record), str(e.size), e.root.hex()) for e in report.frontier],
        ),
        _table(
            "Verified records",
            ("time claimed", "by", "what", "record"),
            [
                (when(record.time), who(record.owner, names), what(record, names), to_text(record.id))
                for record in report.records.values()
            ],
        ),
    ]
    return _PAGE.substitute(
        verdict=escape(report.verdict),
        target=escape(to_text(report.target)),
        federation=escape(to_text(report.federation)),
        sections="\n".join(filter(None, sections)),
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    body = [_row("td", row) for row in rows[:_MOST]]
    if len(rows) > _MOST:
        body.append(f"<tr><td>… {len(rows) - _MOST} more</td></tr>")
    return _section(title, f"<table>{_row('th', columns)}\n" + "\n".join(body) + "</table>")


def _row(cell: str, texts: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{_mark(text)}</{cell}>" for text in texts) + "</tr>"


def _mark(text: str) -> str:
    """Escape a cell; what is one long word is an id or a digest."""
    escaped = escape(text)
    return f"<code>{escaped}</code>" if len(text) >= 40 and " " not in text else escaped


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}" if content else ""
