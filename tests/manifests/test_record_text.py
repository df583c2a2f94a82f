"""A federation's own records as TOML: what becomes of each field, and what is said of each that is wrong."""

from __future__ import annotations

import pytest

from tslg.manifests.record_text import body_of
from tslg.protocol import cid
from tslg.protocol.errors import ManifestError

IDS = sorted(cid.compute(bytes([n])) for n in range(3))
TEXTS = [cid.to_text(id) for id in IDS]


def test_ids_are_read_from_their_text_sorted_and_once() -> None:
    members = [TEXTS[2], TEXTS[0], TEXTS[1], TEXTS[0]]
    assert body_of("peer-set", f'name = "us"\nmembers = {members}', "f") == {"name": "us", "members": IDS}


def test_rules_are_by_agents_or_by_a_word() -> None:
    rule = 'acts = ["retracts", "corrects", "retracts"]\nkinds = ["policy", "decision"]'
    text = f'name = "who"\n[[rules]]\n{rule}\nby = "author"\n[[rules]]\n{rule}\nby = {TEXTS[1::-1]}'
    read = {"acts": ["corrects", "retracts"], "kinds": ["decision", "policy"]}
    assert body_of("correction-policy", text, "f") == {
        "name": "who",
        "rules": [{**read, "by": "author"}, {**read, "by": IDS[:2]}],
    }


def test_what_may_be_null_and_is_left_out_is_null() -> None:
    text = 'name = "p"\ncapabilities = ["read", "list"]\nlimits = {calls = 3}\nclasses = []\ntiers = []\n'
    body = body_of("policy", text + "not_after = 2030-01-31T12:00:00+01:00", "f")
    assert body["not_before"] is None and body["not_after"] == 1_896_087_600_000
    assert body["capabilities"] == ["list", "read"] and body["limits"] == {"calls": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "us"', "members"),
        ('name = "us"\nmembers = ["none"]', "members"),
        ('name = "us"\nmembers = 5', "members"),
        ('name = ""\nmembers = []', "name"),
        ('name = "us"\nmembers = []\nmore = 1', "more"),
    ],
)
def test_every_field_that_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(ManifestError, match="TSLG-M-TEXT") as caught:
        body_of("peer-set", text, "set.toml")
    assert "set.toml" in str(caught.value) and said in str(caught.value)


def test_a_time_without_a_zone_is_nobodys() -> None:
    text = 'name = "p"\ncapabilities = []\nlimits = {}\nclasses = []\ntiers = []\nnot_after = 2030-01-31T12:00:00'
    with pytest.raises(ManifestError, match="a time without a zone"):
        body_of("policy", text, "f")
