"""The operators that make models, and the model itself. Run alone as `python operators.py`; it imports NumPy alone.

It reads /in/config.json and the packages /in/NAME that it names, and writes one package to /out. There is no clock and
no randomness but the seed in the configuration, so the same files give the same bytes. A model has one hidden layer:
features are standardised, `w1 + u1 @ v1` (`u1 @ v1` is a low-rank adapter), ReLU, `w2`. Its package has one .npy file
an array, and model.json. Arrays are float32; of a quantized model the weights are int8 with one float32 scale each.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Model = dict[str, np.ndarray[Any, Any]]
"""Arrays by name: `mean`, `scale` (features), `w1` (features x hidden), `b1`, `w2` (hidden x classes), `b2`; of an
adapted one `u1`, `v1`; of a quantized one `w1` and `w2` int8 with `s1`, `s2`."""
Array = np.ndarray[Any, Any]
PLAIN = ("mean", "scale", "w1", "b1", "w2", "b2")
OPTIONAL = ("u1", "v1", "s1", "s2")
MULTIPLIED = ("w1", "w2", "u1", "v1")
LARGEST = 1 << 22
"""Elements of one array."""


class BadModel(ValueError):
    """Files that are no model."""


# --- models --------------------------------------------------------------------------------------------------------


def load(folder: Path) -> Model:
    """Return the model in a folder, checked: nothing in it is run. Raises BadModel."""
    try:
        model = {
            name: np.load(folder / f"{name}.npy", allow_pickle=False)
            for name in (*PLAIN, *OPTIONAL)
            if (folder / f"{name}.npy").is_file() or name in PLAIN
        }
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise BadModel(f"no model: {type(error).__name__}") from error
    _check(model)
    return model


def _check(model: Model) -> None:
    features, classes = model["mean"].shape, model["b2"].shape
    hidden = model["b1"].shape
    if any(len(shape) != 1 or not 0 < shape[0] <= LARGEST for shape in (features, classes, hidden)):
        raise BadModel("no model: biases and means are no vectors")
    shapes = {"mean": features, "scale": features, "w1": features + hidden, "w2": hidden + classes}
    if "u1" in model or "v1" in model:
        rank = model["u1"].shape[1:] if "u1" in model else ()
        shapes |= {"u1": features + rank, "v1": rank + hidden}
    if "s1" in model or "s2" in model:
        shapes |= {"s1": (1,), "s2": (1,)}
    for name, shape in shapes.items():
        whole = "s1" in model and name in ("w1", "w2")
        if name not in model or model[name].shape != shape or model[name].dtype != (np.int8 if whole else np.float32):
            raise BadModel(f"no model: {name} is not what it should be")
        if not whole and not np.isfinite(model[name]).all():
            raise BadModel(f"no model: {name} is not finite")


def save(model: Model, folder: Path) -> None:
    """Write a model's package: one file an array, and its shape for people."""
    about = {name: [str(array.dtype), *array.shape] for name, array in sorted(model.items())}
    for name, array in model.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    (folder / "model.json").write_text(json.dumps({"arrays": about}, sort_keys=True) + "\n", encoding="utf-8")


def folded(model: Model) -> Model:
    """Return the same model without adapter and scales, in float32."""
    w1, w2 = model["w1"].astype(np.float32), model["w2"].astype(np.float32)
    if "s1" in model:
        w1, w2 = w1 * model["s1"], w2 * model["s2"]
    if "u1" in model:
        w1 = w1 + model["u1"] @ model["v1"]
    return {**{name: model[name] for name in PLAIN}, "w1": w1, "w2": w2}


def logits(model: Model, x: Array) -> Array:
    """Return the scores of rows of features: rows x classes."""
    dense = folded(model)
    hidden = np.maximum((x - dense["mean"]) / dense["scale"] @ dense["w1"] + dense["b1"], 0)
    return np.asarray(hidden @ dense["w2"] + dense["b2"])


def probabilities(model: Model, x: Array) -> Array:
    """Return the softmax of the scores: rows x classes."""
    scores = logits(model, x)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cost(model: Model) -> tuple[int, int]:
    """Return the bytes of all arrays, and the multiplications of one answer."""
    return sum(array.nbytes for array in model.values()), sum(model[n].size for n in model if n in MULTIPLIED)


def rows(folder: Path) -> tuple[Array, Array]:
    """Return features and labels of a data package."""
    return np.load(folder / "x.npy", allow_pickle=False), np.load(folder / "y.npy", allow_pickle=False)


# --- training ------------------------------------------------------------------------------------------------------


def _one_hot(y: Array, classes: int) -> Array:
    return np.eye(classes, dtype=np.float32)[y]


def _descend(model: Model, x: Array, wanted: Array, names: tuple[str, ...], how: Mapping[str, Any]) -> Model:
    """Move the named arrays down the gradient of the cross entropy with the wanted probabilities, in seeded batches."""
    random = np.random.Generator(np.random.PCG64(how["seed"]))
    model = {name: array.copy() for name, array in model.items()}
    speed = {name: np.zeros_like(model[name]) for name in names}
    rate, size = np.float32(how["rate"] / 1000), how["batch"]
    inputs = ((x - model["mean"]) / model["scale"]).astype(np.float32)
    for _ in range(how["epochs"]):
        order = random.permutation(len(inputs))
        for start in range(0, len(inputs), size):
            chosen = order[start : start + size]
            gradients = _gradients(model, inputs[chosen], wanted[chosen])
            for name in names:
                decay = np.float32(how["decay"] / 1_000_000) * model[name] if name[0] in "wuv" else 0
                speed[name] = np.float32(0.9) * speed[name] - rate * (gradients[name] + decay)
                model[name] = model[name] + speed[name]
    return model


def _gradients(model: Model, x: Array, wanted: Array) -> Model:
    w1 = model["w1"] + model["u1"] @ model["v1"] if "u1" in model else model["w1"]
    before = x @ w1 + model["b1"]
    hidden = np.maximum(before, 0)
    scores = hidden @ model["w2"] + model["b2"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    error = (powers / powers.sum(axis=1, keepdims=True) - wanted) / np.float32(len(x))
    back = (error @ model["w2"].T) * (before > 0)
    found = {"w1": x.T @ back, "b1": back.sum(axis=0), "w2": hidden.T @ error, "b2": error.sum(axis=0)}
    if "u1" in model:
        found |= {"u1": found["w1"] @ model["v1"].T, "v1": model["u1"].T @ found["w1"]}
    return found


def _fresh(features: int, hidden: int, classes: int, seed: int) -> Model:
    random = np.random.Generator(np.random.PCG64([seed, 1]))
    return {
        "w1": (random.standard_normal((features, hidden)) * np.sqrt(2 / features)).astype(np.float32),
        "b1": np.zeros(hidden, np.float32),
        "w2": (random.standard_normal((hidden, classes)) * np.sqrt(2 / hidden)).astype(np.float32),
        "b2": np.zeros(classes, np.float32),
    }


def _data(parents: Mapping[str, Path], how: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return the rows to train on; with a `focus`, those of these classes as often again as it says."""
    x, y = rows(parents["data"])
    again = [np.flatnonzero(np.isin(y, how["focus"]))] * how["weight"] if "focus" in how else []
    chosen = np.concatenate([np.arange(len(y)), *again])
    return x[chosen], y[chosen]


# --- the operators -------------------------------------------------------------------------------------------------


def train(how: Mapping[str, Any], parents: Mapping[str, Path]) -> Model:
    """Train a model from nothing. Configuration: `hidden`, `classes`, and what descending takes."""
    x, y = _data(parents, how)
    model = _fresh(x.shape[1], how["hidden"], how["classes"], how["seed"])
    spread = x.std(axis=0)
    # A feature that hardly ever moves must not decide everything on the day that it does.
    scale = np.maximum(spread, np.float32(0.3) * spread.mean()).astype(np.float32)
    model |= {"mean": x.mean(axis=0).astype(np.float32), "scale": scale}
    return _descend(model, x, _one_hot(y, how["classes"]), ("w1", "b1", "w2", "b2"), how)


def distill(how: Mapping[str, Any], parents: Mapping[str, Path]) -> Model:
    """Train a smaller model on what a larger one answers, labels mixed in by `labels` of 100."""
    x, y = _data(parents, how)
    teacher = folded(load(parents["model"]))
    model = _fresh(x.shape[1], how["hidden"], len(teacher["b2"]), how["seed"])
    model |= {"mean": teacher["mean"], "scale": teacher["scale"]}
    share = np.float32(how["labels"] / 100)
    wanted = share * _one_hot(y, len(teacher["b2"])) + (1 - share) * probabilities(teacher, x)
    return _descend(model, x, wanted.astype(np.float32), ("w1", "b1", "w2", "b2"), how)


def adapter_train(how: Mapping[str, Any], parents: Mapping[str, Path]) -> Model:
    """Leave a model as it is and train a low-rank adapter beside its first layer, and the biases."""
    x, y = _data(parents, how)
    model = folded(load(parents["model"]))
    random = np.random.Generator(np.random.PCG64([how["seed"], 2]))
    features, hidden = model["w1"].shape
    model["u1"] = (random.standard_normal((features, how["rank"])) / np.sqrt(features)).astype(np.float32)
    model["v1"] = np.zeros((how["rank"], hidden), np.float32)
    return _descend(model, x, _one_hot(y, len(model["b2"])), ("u1", "v1", "b1", "b2"), how)


def quantize(how: Mapping[str, Any], parents: Mapping[str, Path]) -> Model:
    """Round the weights of a model to `levels` steps on each side of zero, at most the 127 of an int8."""
    model = folded(load(parents["model"]))
    for weights, scale in (("w1", "s1"), ("w2", "s2")):
        step = np.float32(max(float(np.abs(model[weights]).max()), 1e-9) / how["levels"])
        model[scale] = np.array([step], np.float32)
        model[weights] = np.rint(model[weights] / step).astype(np.int8)
    return model


def merge(how: Mapping[str, Any], parents: Mapping[str, Path]) -> Model:
    """Average the weights of two models of one shape, the second by `share` of 100."""
    one, other = folded(load(parents["model"])), folded(load(parents["other"]))
    if any(one[name].shape != other[name].shape for name in PLAIN):
        raise BadModel("models of different shapes have no average")
    share = np.float32(how["share"] / 100)
    return {name: ((1 - share) * one[name] + share * other[name]).astype(np.float32) for name in PLAIN}


OPERATORS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Path]], Model]] = {
    "train": train,
    "distill": distill,
    "adapter_train": adapter_train,
    "quantize": quantize,
    "merge": merge,
}
"""All that there are."""


def main(inputs: Path, out: Path) -> None:
    """Make one package."""
    config = json.loads((inputs / "config.json").read_bytes())
    parents = {name: inputs / name for name in config["parents"]}
    save(OPERATORS[config["operator"]](config["how"], parents), out)


if __name__ == "__main__":
    try:
        main(Path("/in"), Path("/out"))
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}"[:300] + "\n")
        sys.exit(1)
