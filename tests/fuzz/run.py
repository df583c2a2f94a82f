"""Fuzz every parser with coverage to guide it: `python tests/fuzz/run.py --minutes 10` (needs the extra `fuzz`).

Each target runs in a process of its own for its share of the time, with limits on memory and on the time of one input.
A crash, a hang or memory beyond the limit ends with the input that caused it in the folder of finds, and exit code 1.
Inputs that reached new code are kept, so that the next run goes on from there.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MEMORY_MB = 1024
INPUT_SECONDS = 10
INPUT_BYTES = 70_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="for all targets together")
    parser.add_argument("--target", action="append", help="only this one; can be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--corpus", type=Path, default=HERE / "corpus", help="where inputs are kept between runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        return _fuzz(given.worker, given.corpus, given.seconds)
    return _all(given)


def _all(given: argparse.Namespace) -> int:
    _paths()
    from seeds import seeds
    from targets import TARGETS

    names = given.target or list(TARGETS)
    seconds = max(1, int(given.minutes * 60 * given.jobs / len(names)))
    for name, inputs in seeds().items():
        folder = given.corpus / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (folder / f"seed-{number}").write_bytes(data)
    waiting, running, failed = list(names), {}, []
    while waiting or running:
        while waiting and len(running) < given.jobs:
            name = waiting.pop(0)
            command = [sys.executable, __file__, "--worker", name, "--seconds", str(seconds), "--corpus", given.corpus]
            log = (given.corpus / f"{name}.log").open("wb")
            running[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        time.sleep(0.2)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                print(f"{name:20} {_summary(given.corpus / f'{name}.log', process.returncode)}", flush=True)
                if process.returncode:
                    failed.append(name)
    print(f"finds: {', '.join(failed)}; see {given.corpus}" if failed else "no finds")
    return 1 if failed else 0


def _summary(log: Path, code: int) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", text))
    reached = re.findall(r"cov: (\d+)", text)
    runs, peak = figures.get("number_of_executed_units", "?"), figures.get("peak_rss_mb", "?")
    outcome = "ok" if code == 0 else f"FIND (exit {code})"
    return f"{outcome}  runs {runs}  coverage {reached[-1] if reached else '?'}  peak {peak} MB"


def _fuzz(name: str, corpus: Path, seconds: int) -> int:
    _paths()
    import atheris

    with atheris.instrument_imports(include=["tslg.protocol", "tslg.manifests"]):
        import targets
    finds = corpus / "finds"
    finds.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={INPUT_SECONDS}",
        f"-max_len={INPUT_BYTES}",
        f"-artifact_prefix={finds}/{name}-",
        "-print_final_stats=1",
        "-verbosity=1",
    ]

    def one(data: bytes) -> None:
        targets.run(name, data)

    atheris.Setup([sys.argv[0], *options, str(corpus / name)], one)
    atheris.Fuzz()
    return 0


def _paths() -> None:
    sys.path[:0] = [str(HERE), str(HERE.parent / "support"), str(HERE.parents[1] / "src")]


if __name__ == "__main__":
    sys.exit(main())
