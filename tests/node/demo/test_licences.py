"""Reading licences: what is declared, in which order of trust, and what of it is allowed."""

from __future__ import annotations

import pytest

from tslg.node.demo.licences import Licence, declared, permitted

OSI = "License :: OSI Approved :: "


@pytest.mark.parametrize(
    ("expression", "text", "classifiers", "wanted"),
    [
        ("MIT OR  Apache-2.0", "GPL", [OSI + "BSD License"], Licence("MIT OR Apache-2.0", "License-Expression")),
        ("MIT OR", None, [], Licence(None, "its License-Expression is not an SPDX expression")),
        (None, "Apache License, Version 2.0", [OSI + "Apache Software License"], Licence("Apache-2.0", "License")),
        (None, "MIT AND (BSD-2-Clause OR ISC)", [], Licence("MIT AND (BSD-2-Clause OR ISC)", "License")),
        (None, "Proprietary", [], Licence(None, "not stated as an SPDX expression")),
        (None, "Permission is hereby granted " * 40, [OSI + "MIT License"], Licence("MIT", "classifiers")),
        (None, None, [OSI + "MIT License", OSI + "BSD License"], Licence("LicenseRef-BSD AND MIT", "classifiers")),
        (None, None, [OSI + "MIT License", "License :: Other/Proprietary License"], None),
        (None, None, ["License :: OSI Approved"], Licence(None, "none is stated")),
        (None, None, [], Licence(None, "none is stated")),
    ],
)
def test_what_is_declared(expression, text, classifiers, wanted):
    if wanted is None:
        wanted = Licence(None, "not stated as an SPDX expression")
    assert declared(expression, text, classifiers) == wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("MIT", {"MIT"}),
        ("GPL-3.0-only", None),
        ("GPL-3.0-only OR MIT", {"MIT"}),
        ("MIT OR ISC", {"MIT"}),
        ("MIT AND ISC", {"MIT", "ISC"}),
        ("MIT AND GPL-3.0-only", None),
        ("GPL-3.0-only AND MIT OR ISC", {"ISC"}),
        ("MIT AND (GPL-3.0-only OR ISC)", {"MIT", "ISC"}),
        ("ISC WITH some-exception and MIT", {"MIT", "ISC"}),
    ],
)
def test_what_is_permitted(expression, wanted):
    assert permitted(expression, {"MIT", "ISC"}) == wanted


@pytest.mark.parametrize(
    "expression",
    ["", "AND", "MIT MIT", "MIT AND", "(MIT", "MIT)", "()", "MIT WITH", "MIT WITH AND", "MIT/ISC", "(" * 600, "MIT ("],
)
def test_what_is_no_expression(expression):
    with pytest.raises(ValueError):
        permitted(expression, {"MIT"})


def test_deep_parentheses_need_no_recursion():
    assert permitted("(" * 200 + "MIT" + ")" * 200, {"MIT"}) == {"MIT"}
