"""Inspecting made-up environments: what is missing, changed, unreadable, odd."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from tslg.node.demo.inspection import clean, environment, inspect, inspect_all
from tslg.node.demo.judging import GRANTED, INSPECT, LIMITS, judge

POLICY = {"capabilities": list(GRANTED), "limits": dict(LIMITS)}


def only(site):
    (found,) = site.environment().distributions
    return inspect(found)


def outcome(seen):
    judgement = judge(seen, POLICY)
    return judgement.outcome, judgement.reasons


def test_a_sound_distribution_is_ok(site):
    site.install("sound", {"sound/a.py": b"a", "sound/b.py": b"bb"}, headers="License: MIT\nRequires-Dist: other>=1\n")
    seen = only(site)
    assert (seen.name, seen.version, seen.requires, seen.required) == ("sound", "1.0", ("other>=1",), 1)
    assert (len(seen.files), seen.size, seen.unhashed, seen.missing, seen.mismatched) == (2, 3, 2, (), ())
    lines = [f"sound/a.py,{hashlib.sha256(b'a').hexdigest()},1", f"sound/b.py,{hashlib.sha256(b'bb').hexdigest()},2"]
    assert seen.listing.decode().splitlines() == lines
    judgement = judge(seen, POLICY)
    assert judgement.uses == (INSPECT, "licence:MIT")
    assert (judgement.outcome, dict(judgement.spends)) == ("ok", {"missing_files": 0, "digest_mismatches": 0})


def test_a_missing_file_is_refused(site):
    site.install("lost", {"lost/a.py": b"a", "lost/b.py": b"b"})
    (site.folder / "lost/b.py").unlink()
    seen = only(site)
    assert seen.missing == ("lost/b.py",) and len(seen.files) == 1
    assert outcome(seen) == ("refuse", ("1 missing files, 0 allowed",))
    assert judge(seen, POLICY).uses == (INSPECT,) and not judge(seen, POLICY).spends


def test_a_changed_file_is_refused(site):
    site.install("changed", {"changed/a.py": b"honest"})
    (site.folder / "changed/a.py").write_bytes(b"hostile")
    seen = only(site)
    assert seen.mismatched == ("changed/a.py",) and seen.files[0].digest == hashlib.sha256(b"hostile").digest()
    assert outcome(seen) == ("refuse", ("1 digest mismatches, 0 allowed",))


def test_limits_are_those_of_the_policy(site):
    site.install("lost", {"lost/a.py": b"a", "lost/b.py": b"b"})
    (site.folder / "lost/b.py").unlink()
    judgement = judge(only(site), {**POLICY, "limits": {"missing_files": 1, "digest_mismatches": 0}})
    assert (judgement.outcome, judgement.spends["missing_files"]) == ("ok", 1)


def test_a_file_that_is_no_regular_file_counts_as_missing(site):
    site.install(
        "odd", {"odd/a.py": b"a"}, record=site.entry("odd/pipe", b"a") + "\n" + site.entry("odd/a.py", b"a") + "\n"
    )
    os.mkfifo(site.folder / "odd/pipe")
    assert only(site).missing == ("odd/pipe",)


@pytest.mark.parametrize("method", ["sha384", "sha512"])
def test_longer_hashes_are_held_against_the_files(site, method):
    site.install("long", {"long/a.py": b"a"}, record=site.entry("long/a.py", b"a", method) + "\n")
    assert outcome(only(site)) == ("ok", ())
    (site.folder / "long/a.py").write_bytes(b"b")
    assert only(site).mismatched == ("long/a.py",)


def test_weak_hashes_prove_nothing(site):
    site.install("weak", record=site.entry("weak/__init__.py", b"x = 1\n", "md5") + "\n")
    assert outcome(only(site)) == ("review", ("its RECORD gives no hash for any file",))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("", "no RECORD: its installer left no list of its files"),
        ("just a line\n", "its RECORD is malformed or has too many entries"),
        ("a\0b,sha256=x,1\n", "its RECORD is malformed or has too many entries"),
    ],
)
def test_what_cannot_be_checked_is_for_review(site, record, reason):
    site.install("odd", record=record)
    assert outcome(only(site)) == ("review", (reason,))


def test_an_editable_install_is_for_review(site):
    site.install("mine", extra={"direct_url.json": json.dumps({"dir_info": {"editable": True}, "url": "file:///x"})})
    assert only(site).editable
    assert outcome(only(site))[0] == "review"


@pytest.mark.parametrize("content", ["[" * 4_000, "[" * 1_000_000, "{", "[]", '{"dir_info": 1}'])
def test_a_direct_url_that_says_nothing_is_no_editable_install(site, content):
    site.install("odd", extra={"direct_url.json": content})
    assert outcome(only(site)) == ("ok", ())


def test_an_odd_licence_is_refused_and_an_unknown_one_is_for_review(site):
    site.install("odd", headers="License-Expression: AGPL-3.0-only AND MIT\n")
    site.install("silent", headers="")
    odd, silent = inspect_all(site.environment().distributions)
    assert outcome(odd) == ("refuse", ("licence AGPL-3.0-only AND MIT is not granted",))
    assert outcome(silent) == ("review", ("licence none is stated",))


def test_what_metadata_lacks_has_a_name_all_the_same(site):
    info = site.install("broken")
    (info / "METADATA").write_bytes(b"\xff\xfe")
    seen = only(site)
    assert (seen.name, seen.version) == ("[broken-1.0.dist-info]", "[none]")


def test_of_one_name_the_first_counts_and_the_others_are_told(site, tmp_path):
    site.install("twice")
    other = type(site)(tmp_path / "dist-packages")
    other.install("twice", headers="License: GPL\n")
    found = environment([str(site.folder), str(other.folder)])
    assert (len(found.distributions), found.shadowed) == (1, 1)
    assert inspect(found.distributions[0]).licence.expression == "MIT"


def test_the_fingerprint_is_of_names_and_versions(site):
    site.install("one")
    before = site.environment().fingerprint()
    assert before == hashlib.sha256(b"one==1.0\n").hexdigest()
    site.install("two")
    assert site.environment().fingerprint() != before


def test_foreign_text_is_made_fit_for_records_and_terminals():
    assert clean("a\x1b[31m\u202eb\ud800" + "x" * 500) == "a [31m b?" + "x" * 191
