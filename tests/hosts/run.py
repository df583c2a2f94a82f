"""The hosts' scenario, measured: `python tests/hosts/run.py [--loopback] [--parted SECONDS]`; prints one JSON document.

Between network namespaces it needs root and /dev/net/tun. Exit code 1 if something is not as it must be, or an audit
took more than three times what it takes undisturbed, in the median: of a record that can be reached, in logs as long;
of one that cannot, against one that nobody has.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "src")]

from relay import Relay  # noqa: E402
from router import Router  # noqa: E402
from scenario import DELAY, LOSS, NAMES, check, play, started  # noqa: E402

MOST = 3.0
"""Times that an audit may take of what it takes undisturbed."""
UNDISTURBED = {"lossy": "calm", "parted": "calm", "whole": "calm again", "behind": "nobody"}
"""By phase, that in which the same is asked without a disturbance."""


def main() -> int:
    """Run the scenario once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--parted", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    links = Relay(NAMES, given.seed) if given.loopback else Router(NAMES, given.seed)
    with tempfile.TemporaryDirectory() as folder, links, started(links, Path(folder)) as hosts:
        outcome = play(links, hosts, given.parted)
    check(outcome)
    phases = list(dict.fromkeys(one.phase for one in outcome.audits))
    medians = {phase: outcome.median(phase) for phase in phases}
    told = {
        "hosts": len(NAMES),
        "delay_one_way_ms": DELAY * 1000,
        "loss": LOSS,
        "parted_s": given.parted,
        "records": {owner: size for owner, (size, _) in outcome.logs.items()},
        "seconds_until_same": round(outcome.until_same, 1),
        "verdicts": {phase: Counter(one.verdict for one in outcome.audits if one.phase == phase) for phase in phases},
        "median_audit_s": {phase: round(seconds, 3) for phase, seconds in medians.items()},
        "longest_audit_s": {
            phase: round(max(one.seconds for one in outcome.audits if one.phase == phase), 3) for phase in phases
        },
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return int(any(medians[phase] > MOST * medians[undisturbed] for phase, undisturbed in UNDISTURBED.items()))


if __name__ == "__main__":
    sys.exit(main())
