"""Licences: read, refused, and combined to what they ask together."""

from __future__ import annotations

import pytest

from tslg.node.artifacts.licence_terms import APART, TERMS
from tslg.node.artifacts.licences import checked, combine, read
from tslg.protocol.errors import PackageError


def test_expressions_are_kept_in_normal_form():
    assert checked(["mit", "Apache-2.0", "MIT", "GPL-2.0+"]) == ["Apache-2.0", "GPL-2.0-or-later", "MIT"]
    assert checked(["LicenseRef-house", "MIT AND (Apache-2.0)"]) == ["LicenseRef-house", "MIT AND Apache-2.0"]


@pytest.mark.parametrize("text", ["Foo-1.0", "MIT AND", "", "  ", "AND", "MIT OR (", "((((" * 40, "MIT ISC", "x" * 999])
def test_what_spdx_does_not_know_is_refused(text):
    with pytest.raises(PackageError) as caught:
        checked([text])
    assert caught.value.code == "TSLG-F-LICENCE" and "LicenseRef" in caught.value.mend


def test_of_alternatives_the_one_that_asks_least_is_taken():
    assert read("GPL-3.0-only OR MIT").taken == {"MIT"}
    assert read("(GPL-3.0-only OR MIT) AND (Apache-2.0 OR CC0-1.0)").taken == {"MIT", "CC0-1.0"}
    assert read("LicenseRef-house OR AGPL-3.0-only").taken == {"AGPL-3.0-only"}
    assert read("GPL-2.0-only WITH Classpath-exception-2.0").taken == {"GPL-2.0-only"}
    assert read("(MIT AND AGPL-3.0-only) OR GPL-2.0-only").taken == {"GPL-2.0-only"}


def test_what_the_table_does_not_tell_is_told():
    assert read("LicenseRef-house").untold == {"LicenseRef-house"} and not read("LicenseRef-house").unknown
    assert read("Foo").unknown == {"Foo"}
    assert read("Sleepycat").untold == {"Sleepycat"}


def test_the_strictest_combination():
    found = combine(["MIT", "Apache-2.0", "GPL-3.0-or-later", "MIT OR ISC"])
    assert found.expression == "Apache-2.0 AND GPL-3.0-or-later AND MIT AND (MIT OR ISC)"
    assert found.obligations["source"] == {"GPL-3.0-or-later"}
    assert found.obligations["state-changes"] == {"Apache-2.0", "GPL-3.0-or-later"}
    assert found.conflicts == () and "GPL-3.0-only" in found.under
    assert combine(["MIT", "Apache-2.0"]).under is None
    assert combine([]).expression == "" and combine([]).obligations == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GPL-2.0-only", "Apache-2.0"),
        ("GPL-2.0-only", "GPL-3.0-only"),
        ("ODbL-1.0", "CC-BY-SA-4.0"),
        ("CC-BY-NC-4.0", "GPL-3.0-only"),
        ("CDDL-1.0", "GPL-2.0-or-later"),
        ("CC-BY-NC-SA-4.0", "CC-BY-SA-4.0"),
    ],
)
def test_what_cannot_be_kept_at_once(one, other):
    for pair in ([one, other], [other, one]):
        (conflict,) = combine(pair).conflicts
        assert set(conflict.licences) == {one, other} and conflict.why


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GPL-2.0-or-later", "Apache-2.0"),
        ("GPL-3.0-or-later", "AGPL-3.0-only"),
        ("CC-BY-SA-4.0", "GPL-3.0-only"),
        ("MPL-2.0", "GPL-2.0-only"),
        ("CC-BY-NC-4.0", "MIT"),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"),
    ],
)
def test_what_can_be_kept_at_once(one, other):
    assert combine([one, other]).conflicts == combine([other, one]).conflicts == ()


def test_nothing_is_derived_from_what_allows_no_derivatives():
    assert combine(["CC-BY-ND-4.0"]).conflicts == ()
    (conflict,) = combine(["CC-BY-ND-4.0", "MIT"], derived=["CC-BY-ND-4.0"]).conflicts
    assert conflict.licences == ("CC-BY-ND-4.0",)


def test_the_table_names_licences_that_spdx_lists():
    named = {*TERMS, *APART, *(name for terms in TERMS.values() for name in terms.under or ())}
    assert checked(named) == sorted(named)
    assert all(terms.under is None or name in terms.under for name, terms in TERMS.items())
