"""Members that do not keep to the rules: each drives the protocol's machines wrongly on purpose, in one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tslg.simulations.adversaries.authority import Colluder, Inventor, Usurper, Widener
from tslg.simulations.adversaries.counterfeiting import Counterfeiter
from tslg.simulations.adversaries.forging import Forger
from tslg.simulations.adversaries.history import Equivocator, Rewriter, Splitter
from tslg.simulations.adversaries.perjury import Perjurer
from tslg.simulations.adversaries.serving import Denier, Eclipser, Flooder, Liar, Withholder
from tslg.simulations.scenario import Group

BEHAVIOURS: Final[Mapping[str, Callable[[Group], Any]]] = {
    "colluder": Colluder,
    "counterfeiter": Counterfeiter,
    "denier": Denier,
    "eclipser": Eclipser,
    "equivocator": Equivocator,
    "flooder": Flooder,
    "forger": Forger,
    "inventor": Inventor,
    "liar": Liar,
    "perjurer": Perjurer,
    "rewriter": Rewriter,
    "splitter": Splitter,
    "usurper": Usurper,
    "widener": Widener,
    "withholder": Withholder,
}
"""Behaviours by the name that scenarios use."""
