"""The data of a lab: scikit-learn's bundled sets, cut into parts that never overlap, some moved as the world moves.

Of both vendors' parts none shares a row with another: what is judged on was never trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tslg.protocol.errors import UsageError

if TYPE_CHECKING:
    from tslg.simulations.lab.operators import Array

LICENCE: Final = "CC-BY-4.0"
"""Under which the UCI repository, where all three come from, hands them on."""
SHARES: Final = {"base": 24, "field": 26, "acceptance": 20, "shadow": 10, "canary": 10, "watch": 10}
"""Parts of a data set, in percent: the first two are the breeder's, the others the evaluator's."""
BREEDERS: Final = ("base", "field")
MISSING: Final = "pip install 'tslg[lab]'"


class DataSet(NamedTuple):
    """One bundled data set: its loader in scikit-learn, where it comes from, and the founders' neurons and epochs."""

    loader: str
    source: str
    hidden: int
    epochs: int


SETS: Final[Mapping[str, DataSet]] = {
    "digits": DataSet("load_digits", "UCI Optical Recognition of Handwritten Digits, test part", 32, 4),
    "breast-cancer": DataSet("load_breast_cancer", "UCI Breast Cancer Wisconsin (Diagnostic)", 16, 20),
    "wine": DataSet("load_wine", "UCI Wine Recognition", 12, 40),
}


def loaded(name: str) -> tuple[Array, Array]:
    """Return features (float32) and labels (int64) of a data set. Raises UsageError without scikit-learn."""
    try:
        import numpy as np
        from sklearn import datasets
    except ImportError:
        raise UsageError("NumPy and scikit-learn are not installed", code="TSLG-U-EXTRA", mend=MISSING) from None
    x, y = getattr(datasets, SETS[name].loader)(return_X_y=True)
    return np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.int64)


def parts(x: Array, y: Array, seed: int) -> dict[str, tuple[Array, Array]]:
    """Cut rows into the parts of `SHARES`, each with its share of every class."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64((seed, 10)))
    chosen: dict[str, list[Array]] = {name: [] for name in SHARES}
    for label in np.unique(y):
        rows = random.permutation(np.flatnonzero(y == label))
        ends = np.cumsum([len(rows) * share // 100 for share in SHARES.values()])[:-1]
        for name, share in zip(SHARES, np.split(rows, ends), strict=True):
            chosen[name].append(share)
    found = {}
    for name, some in chosen.items():
        order = random.permutation(np.concatenate(some))
        found[name] = _moved(name, x[order], y[order], seed)
    return found


def _moved(name: str, x: Array, y: Array, seed: int) -> tuple[Array, Array]:
    """Move the parts that are of later days: half of the field's rows, and what canaries and champions meet."""
    if name == "field":
        half = len(x) // 2
        x = x.copy()
        x[:half] = drifted(x[:half], (seed, 11), 15)
    elif name == "canary":
        x = drifted(x, (seed, 12), 25)
    elif name == "watch":
        x = drifted(x, (seed, 13), 35)
    return x, y


def drifted(x: Array, seed: tuple[int, int], strength: int) -> Array:
    """Let every sensor read too much or too little: its gain and zero are off by `strength` percent or so."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64(seed))
    gain, zero = random.standard_normal((2, x.shape[1]))
    spread = x.std(axis=0)
    moved = x * (1 + gain * strength / 100) + zero * spread * strength / 100
    return np.asarray(moved, np.float32)


def noisy(x: Array, seed: int, strength: int) -> Array:
    """Add noise of `strength` percent of every feature's spread."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64((seed, 14)))
    return np.asarray(x + random.standard_normal(x.shape) * x.std(axis=0) * strength / 100, np.float32)


def write(folder: Path, x: Array, y: Array, about: Mapping[str, Any]) -> Path:
    """Write a data package: `x.npy`, `y.npy` and what people are told of it."""
    import numpy as np

    folder.mkdir(parents=True)
    np.save(folder / "x.npy", x, allow_pickle=False)
    np.save(folder / "y.npy", y, allow_pickle=False)
    (folder / "data.json").write_text(json.dumps(dict(about), sort_keys=True) + "\n", encoding="utf-8")
    return folder
