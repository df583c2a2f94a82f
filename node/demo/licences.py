"""Which licence a distribution declares, as an SPDX expression where it can be told, and what of it a policy allows.

Metadata is read in the order of the packaging standard: `License-Expression` (PEP 639), then `License` if it is an
expression or one of a few common names, then the classifiers. What cannot be told is left untold: no guess is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

EXPRESSION_CHARACTERS: Final = 500
"""The longest expression that is read; those of real packages stay below 200 characters."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*\Z")
_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_PRECEDENCE: Final = {"OR": 1, "AND": 2}
_WORDS: Final = frozenset((*_PRECEDENCE, "WITH"))

SPDX: Final = frozenset(
    (
        "0BSD",
        "AGPL-3.0-only",
        "AGPL-3.0-or-later",
        "Apache-2.0",
        "Artistic-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "EPL-2.0",
        "GPL-2.0-only",
        "GPL-2.0-or-later",
        "GPL-3.0-only",
        "GPL-3.0-or-later",
        "HPND",
        "ISC",
        "LGPL-2.1-only",
        "LGPL-2.1-or-later",
        "LGPL-3.0-only",
        "LGPL-3.0-or-later",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-2.0",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
        "ZPL-2.1",
        "Zlib",
    )
)
"""Identifiers that a free-text `License` may consist of; a `License-Expression` may name any identifier."""

_NAMES: Final = {
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "the mit license": "MIT",
    "mit license": "MIT",
    "the mit license (mit)": "MIT",
    "2-clause bsd license": "BSD-2-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "mpl 2.0": "MPL-2.0",
    "mozilla public license 2.0": "MPL-2.0",
    "psf": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense": "Unlicense",
}
"""Common names in `License`, lower case without commas, that stand for one licence and no other."""

_CLASSIFIERS: Final = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "Apache Software License": "LicenseRef-Apache",
    "BSD License": "LicenseRef-BSD",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
}
"""The last part of a classifier; those of Apache and BSD do not say which version, hence a reference of our own."""


class Licence(NamedTuple):
    """A declared licence: its SPDX expression, None if it cannot be told, and where or why."""

    expression: str | None
    source: str


def declared(expression: str | None, text: str | None, classifiers: Sequence[str]) -> Licence:
    """Return the licence that a distribution declares.

    Args:
        expression: its `License-Expression`.
        text: its `License`, which people fill with anything up to the whole text of a licence.
        classifiers: its classifiers, all of them.
    """
    if expression:
        read = _expression(expression)
        return Licence(read, "License-Expression" if read else "its License-Expression is not an SPDX expression")
    if text:
        read = _named(text)
        if read:
            return Licence(read, "License")
    named = {item.rsplit(" :: ", 1)[-1] for item in classifiers if item.startswith("License :: ")} - {"OSI Approved"}
    known = sorted({_CLASSIFIERS[name] for name in named if name in _CLASSIFIERS})
    if known and named <= _CLASSIFIERS.keys():
        # Classifiers do not say whether one may choose among several, so all of them are taken to apply.
        return Licence(" AND ".join(known), "classifiers")
    return Licence(None, "not stated as an SPDX expression" if text or named else "none is stated")


def permitted(expression: str, allowed: Collection[str]) -> frozenset[str] | None:
    """Return the licences that are relied on if everything the expression asks for is allowed, None if it is not.

    Of alternatives the first that is allowed is taken. An exception (`WITH`) only ever permits more than its licence,
    which therefore decides. Raises ValueError for what is not an SPDX expression.
    """
    values: list[frozenset[str] | None] = []
    operators: list[str] = []
    for token in _tokens(expression):
        if token == "(":
            operators.append(token)
        elif token == ")":
            _reduce(values, operators, 0)
            if not operators or operators.pop() != "(":
                raise ValueError("unbalanced parentheses")
        elif token in _PRECEDENCE:
            _reduce(values, operators, _PRECEDENCE[token])
            operators.append(token)
        else:
            values.append(frozenset((token,)) if token in allowed else None)
    _reduce(values, operators, 0)
    if operators or len(values) != 1:
        raise ValueError("not an SPDX expression")
    return values[0]


def _reduce(values: list[frozenset[str] | None], operators: list[str], precedence: int) -> None:
    """Carry out the operators on the stack that bind at least as tightly, back to the last parenthesis."""
    while operators and operators[-1] != "(" and _PRECEDENCE[operators[-1]] >= precedence:
        if len(values) < 2:
            raise ValueError("an operator without two licences")
        right, left = values.pop(), values.pop()
        if operators.pop() == "AND":
            values.append(None if left is None or right is None else left | right)
        else:
            values.append(left if left is not None else right)


def _tokens(expression: str) -> list[str]:
    """Split an expression and check that licences and operators take turns; `WITH` and its exception are dropped."""
    if len(expression) > EXPRESSION_CHARACTERS:
        raise ValueError("too long")
    found: list[str] = []
    operand = True
    parts = iter(_TOKEN.findall(expression))
    for part in parts:
        word = part.upper() if part.upper() in _WORDS else part
        if (word in _WORDS or word == ")") is operand:
            raise ValueError("licences and operators do not take turns")
        if word == "WITH":
            exception = next(parts, "")
            if exception.upper() in _WORDS or not _IDENTIFIER.match(exception):
                raise ValueError("WITH without an exception")
            continue
        if word not in ("AND", "OR", "(", ")") and not _IDENTIFIER.match(word):
            raise ValueError("not a licence identifier")
        operand = word in ("AND", "OR", "(")
        found.append(word)
    return found


def _expression(text: str) -> str | None:
    try:
        permitted(text, ())
    except ValueError:
        return None
    return " ".join(text.split())


def _named(text: str) -> str | None:
    """Read a free text: an expression over well-known identifiers, or one well-known name."""
    plain = " ".join(text.split())
    if len(plain) > EXPRESSION_CHARACTERS:
        return None
    name = _NAMES.get(plain.lower().replace(",", ""))
    if name is not None:
        return name
    read = _expression(plain)
    if read is None:
        return None
    licences = [token for token in _tokens(read) if token not in ("AND", "OR", "(", ")")]
    return read if SPDX.issuperset(licences) else None
