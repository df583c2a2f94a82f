"""A node under every attack, measured: `python tests/hostile/run.py [ATTACK …] [--seconds N]`; a line of JSON each.

Exit code 1 if a node took more than 300 MB, did not name who broke a rule, gave an honest reader a wrong verdict, or
kept it waiting for more than twice as long as before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "src")]

from siege import ATTACKS, MEMORY, besiege, besieged  # noqa: E402

MOST = 2.0
"""Times that an honest reader may wait of what it waits without an attack."""


def main() -> int:
    """Run the attacks, each against a node of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", default=ATTACKS)
    parser.add_argument("--seconds", type=float, default=12)
    given = parser.parse_args()
    failed = False
    for attack in given.attacks:
        with tempfile.TemporaryDirectory() as folder, besieged(Path(folder)) as (victim, reader):
            seen = besiege(attack, victim, reader, given.seconds)
        told = {**seen._asdict(), "memory": seen.memory >> 20, "times": round(seen.under / seen.before, 2)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        failed |= seen.memory > MEMORY or not seen.valid or not seen.named or seen.under > MOST * seen.before
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
