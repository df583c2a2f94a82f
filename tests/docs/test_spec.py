"""The specification agrees with the code where both say the same thing, and with itself."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from tslg.protocol import cid, codec, seal

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs" / "spec"
PAGES = sorted(SPEC.glob("*.md"))
SENTENCE = re.compile(r"^- \[([A-Z]{3})-(\d+)\] ", re.MULTILINE)


@functools.cache
def tool(name: str):
    """Load a script of docs/tools, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_tools_{name}", ROOT / "docs" / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(page: str) -> str:
    return (SPEC / page).read_text(encoding="utf-8")


def test_the_tables_of_kinds_are_those_of_the_code():
    page = text("kinds.md")
    assert tool("kinds_table").updated(page) == page, "run python docs/tools/kinds_table.py"


def test_every_code_of_the_source_is_documented_and_no_other():
    documented = re.findall(r"^\| `(TSLG-[A-Z0-9-]+)` \|", text("codes.md"), re.MULTILINE)
    assert documented == sorted(set(documented))
    in_source = tool("codes").codes_in(ROOT)
    missing = {code: sorted(files) for code, files in in_source.items() if code not in documented}
    assert missing == {}, "add these to docs/spec/codes.md"
    assert set(documented) - set(in_source) == set(), "no source produces these"


def test_codes_that_are_put_together_are_found():
    codes = tool("codes")
    module = 'def _no(rule, n):\n    return f"TSLG-X-{rule}"\n_no("ONE", 1)\n_no("TWO-B", 2)\ncode = "TSLG-Y-THREE"\n'
    assert codes.codes_in_text(module) == {"TSLG-X-ONE", "TSLG-X-TWO-B", "TSLG-Y-THREE"}
    with pytest.raises(ValueError, match="not a constant"):
        codes.codes_in_text(module + "_no(variable, 3)\n")


def test_codes_that_pages_mention_are_documented():
    documented = set(re.findall(r"^\| `(TSLG-[A-Z0-9-]+)` \|", text("codes.md"), re.MULTILINE))
    for page in PAGES:
        mentioned = set(re.findall(r"`(TSLG-[A-Z]+-[A-Z0-9-]+)`", page.read_text(encoding="utf-8")))
        assert mentioned <= documented, page.name


@pytest.mark.spec("IDX-1", "IDX-3")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_normative_sentences_are_numbered_in_order(page):
    found = SENTENCE.findall(page.read_text(encoding="utf-8"))
    assert len({prefix for prefix, _ in found}) <= 1
    assert [int(number) for _, number in found] == list(range(1, len(found) + 1))


def test_links_between_pages_lead_somewhere():
    prefixes = {page.name: SENTENCE.findall(page.read_text(encoding="utf-8")) for page in PAGES}
    for page in PAGES:
        for label, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert target in prefixes, f"{page.name}: {target}"
            if sentence := re.fullmatch(r"([A-Z]{3})-(\d+)", label):
                assert sentence.groups() in prefixes[target], f"{page.name}: {label} is not in {target}"


def test_every_page_is_listed_in_the_index():
    assert set(re.findall(r"^\| \[([a-z]+\.md)\]", text("index.md"), re.MULTILINE)) == {
        page.name for page in PAGES if page.name != "index.md"
    }


def example(page: str) -> dict[str, str]:
    """The last fenced block of a page as its entries; lines that start with a space continue the entry before."""
    block = re.findall(r"```text\n(.*?)```", text(page), re.DOTALL)[-1]
    joined = re.sub(r"\n +", "", block)
    return dict(line.split(": ", 1) for line in joined.splitlines())


def test_the_example_of_the_codec():
    given = bytes.fromhex(example("codec.md")["bytes"])
    value = {"b": [1, -1, True], "aa": None, "c": bytes.fromhex("00ff")}
    assert codec.decode(given) == value and codec.encode(value) == given
    assert example("codec.md")["value"] == '{"b": [1, -1, true], "aa": null, "c": h\'00ff\'}'


def test_the_example_of_ids():
    entries = example("cid.md")
    link = cid.compute(bytes.fromhex(entries["bytes of the record"]))
    assert link.hex() == entries["id"] and cid.to_text(link) == entries["text"]


def test_the_table_of_hashes():
    rows = re.findall(r"^\| `(\S+)` \| `([0-9a-f]+)` \| (\d+) \| `([0-9a-f]+)` \|$", text("cid.md"), re.MULTILINE)
    assert [(name, int(code, 16), int(size), bytes.fromhex(first)) for name, code, size, first in rows] == [
        (entry.name, entry.code, entry.size, entry.dag_cbor_prefix) for entry in cid.HASHES.values()
    ]


def test_the_example_of_a_seal():
    entries = {name.strip(): bytes.fromhex(value) for name, value in example("seal.md").items()}
    record = b"\xa0"
    key = SigningKey(bytes(range(32)))
    assert bytes(key.verify_key) == entries["public key"] and cid.compute(record) == entries["kid"]
    assert seal.to_be_signed(record, -19) == entries["signed"]
    assert key.sign(entries["signed"]).signature == entries["signature"]
    assert seal.encode([seal.Signature(-19, entries["kid"], entries["signature"])]) == entries["seal"]
    assert seal.parse(entries["seal"]).signatures[0].value == entries["signature"]


def test_the_example_of_commitments():
    from tslg.protocol.zk import group, narrowing
    from tslg.protocol.zk.commitments import Opening

    entries = example("narrowing.md")
    opening = Opening(frozenset({"scan"}), {"eur": 500}, bytes.fromhex(entries["secret"]))
    hidden = narrowing.hide(["scan"], opening)
    assert group.VALUE.hex() == entries["V"]
    assert hidden.capabilities[0].hex() == entries["commitment of the capability scan, granted"]
    assert hidden.limits["eur"].hex() == entries["commitment of the limit eur, 500"]


def test_every_sentence_has_a_test_and_every_test_names_sentences_that_are_there():
    sentences = tool("sentences")
    assert sentences.marked().keys() - sentences.sentences().keys() == set(), "tests name sentences that no page has"
    assert [id for id, tests in sentences.held().items() if not tests] == [], "mark a test with @pytest.mark.spec(…)"


def test_the_table_of_sentences_and_tests_is_up_to_date():
    assert text("tests.md") == tool("sentences").page(), "run python docs/tools/sentences.py"
