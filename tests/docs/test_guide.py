"""Every command and every program that the pages for users show is run, and does what the page says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import console_pages as pages
import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
PROSE = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

NEED_A_DATABASE = {"postgresql.md"}
FIRST = {"quickstart.md"}
"""Where everybody begins; the other pages take seconds each."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def runs(page: Path) -> object:
    return pytest.param(page, id=relative(page), marks=() if page.name in FIRST else pytest.mark.thorough)


@pytest.mark.parametrize("page", [runs(page) for page in (ROOT / "README.md", *GUIDE)])
def test_the_page_does_what_it_shows(page, runner, request):
    if page.name in NEED_A_DATABASE:
        server = request.getfixturevalue("cluster")
        runner.env |= server.environment | {"PATH": f"{runner.env['PATH']}{os.pathsep}{server.programs}"}
    for step in pages.steps(page.read_text(encoding="utf-8")):
        wrong = runner.run(step)
        assert wrong is None, f"{relative(page)}:{step.line}: {step.text}\n{wrong}"


@pytest.mark.parametrize("page", GUIDE, ids=relative)
def test_a_guide_page_shows_something_that_can_be_run(page):
    assert pages.steps(page.read_text(encoding="utf-8")) != [] or page.name == "index.md"


def test_a_wrong_page_is_found_out(runner):
    good = (
        "```console\n$ echo one \\\n    two\none two\n$ cat <<'END'\nx\nEND\nx\n"
        "$ false\n(exit 1)\n$ word='two words'\n$ echo \"$word\"\ntwo words\n$ printf 'a\\nb\\nc'\na…\n…\n```\n"
    )
    assert [runner.run(step) for step in pages.steps(good)] == [None] * 6
    bad = "```console\n$ echo one\ntwo\n$ false\n$ true\n(exit 1)\n```\n\n```python\nraise SystemExit(1)\n```\n"
    found = pages.steps(bad)
    assert [step.line for step in found] == [2, 4, 5, 10]
    assert None not in [runner.run(step) for step in found]
    with pytest.raises(ValueError, match="line 2"):
        pages.steps("```console\noutput\n```\n")


def test_a_command_that_runs_on_is_waited_for_and_ended(runner):
    first, second, third = pages.steps(
        "```console\n$ sh -c 'echo up; sleep 100' > log &\n$ cat log\nup\n$ sleep 100 &\n```\n"
    )
    assert runner.run(first) is None
    assert runner.run(second) is None
    assert "must write to a file" in runner.run(third)
    runner.close()
    assert [process.poll() is not None for process in runner.background] == [True]


def anchors(page: Path) -> set[str]:
    """Return the link targets of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PROSE, ids=relative)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{relative(page)}: {target}"
        assert not anchor or anchor in anchors(file), f"{relative(page)}: {target}"


def test_the_first_three_lines_of_the_readme_are_those_of_the_package():
    import tslg

    shown = "\n".join(line.strip() for line in (tslg.__doc__ or "").splitlines()[2:] if line.strip())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    programs = [step.text for step in pages.steps(readme) if step.python]
    assert shown in [re.sub(r"\n+", "\n", text).strip() for text in programs]


def test_every_page_of_the_guide_is_listed():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [relative(page) for page in GUIDE if f"(guide/{page.name})" not in index] == []
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [relative(page) for page in decisions if f"(decisions/{page.name})" not in index] == []


def test_the_scripts_of_the_readme_are_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert commands == [
        "./install.sh && .venv/bin/tslg demo\n",
        "./install.sh --dev && .venv/bin/python -m pytest -n logical\n",
    ]
    assert os.access(ROOT / "install.sh", os.X_OK)
