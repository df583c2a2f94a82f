"""A process that governs steps and keeps their plaintexts as fast as it can, until it is killed.

    python keeping_process.py DATA

Prints a line for each step once its caller is told that it is recorded: its id and its output.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Thread

from tslg.node.governing.candidate import Candidate
from tslg.node.governing.gate import Gate
from tslg.node.home import Home
from tslg.protocol.cid import to_text


def work(gate: Gate, thread: int) -> None:
    """Submit steps for ever."""
    turn = 0
    while True:
        turn += 1
        output = f"{thread} {turn} " + "x" * (turn % 7)
        inputs = {"prompt": f"what is {turn}?"}
        step = Candidate(
            intent="answer",
            model="m",
            version="1",
            tier="assistant",
            inputs=inputs,
            output=output,
            state={"turn": turn},
        )
        record = gate.submit(step).or_raise().record
        sys.stdout.write(f"{to_text(record.id)} {output.strip()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    with Home.open(Path(sys.argv[1])) as home:
        policy = b'name = "p"\nclass = "internal"\ntier = "assistant"\n[intents.answer]\n'
        shared = Gate(home.agent("a"), policy)
        threads = [Thread(target=work, args=(shared, number), daemon=True) for number in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
