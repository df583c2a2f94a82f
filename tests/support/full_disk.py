"""A governed agent on a disk of a few megabytes that fills up, and later has room again: prints what became of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "src")]

from gates import candidate, gated  # noqa: E402

from tslg.node.governing.errors import Unrecorded  # noqa: E402
from tslg.node.home import Home  # noqa: E402

SIZE = "6m"


def main(folder: Path) -> None:
    """Take steps until the disk is full, make room, and go on."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)], check=True)
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    with Home.open(folder / "node", name="bot") as home:
        gate = gated(home)
        done, told = 0, None
        while told is None:
            try:
                gate.submit(candidate(state={"done": done + 1, "padding": "x" * 20_000}))
                done += 1
            except Unrecorded as error:
                told = str(error)
        at_full = gate.state.data["done"]
        again = []
        for _ in range(3):
            try:
                gate.submit(candidate(state={"done": -1, "padding": "x" * 20_000}))
            except Unrecorded as error:
                again.append(error.code)
        ballast.unlink()
        outcome = gate.submit(candidate(state={"done": done + 1}))
        late = home.store.by_kind("rejection", gate.agent.id)
        stages = [home.ledger.context.record(id).body["stage"] for id in late]
        problems = [str(problem) for problem in home.store.check()]
    with Home.open(folder / "node", name="bot") as home:
        after = gated(home).state.data["done"]
    said = {"done": done, "told": told, "at_full": at_full, "again": again, "stages": stages}
    said |= {"admitted": outcome.admitted, "after": after, "problems": problems}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
