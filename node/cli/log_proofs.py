"""Checking `tlog-proof` files offline, against the witnesses that the reader trusts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tslg.node.cli.output import emit

if TYPE_CHECKING:
    from tslg.protocol.cosignature import Policy
    from tslg.protocol.tlogproof import LogProof

C = TypeVar("C", bound=Callable[..., Any])


def policy_options(command: C) -> C:
    """Add the options that say whose signatures a proof must carry."""
    for option in (
        click.option(
            "--log-key",
            "log_keys",
            metavar="VKEY",
            multiple=True,
            help="Of a proof file: a key of its log.  [the genesis's]",
        ),
        click.option("--quorum", type=click.IntRange(0), help="… and how many must have cosigned.  [all]"),
        click.option(
            "--witness", "witnesses", metavar="VKEY", multiple=True, help="Of a proof file: a witness to trust; repeat."
        ),
    ):
        command = option(command)
    return command


def refuse_policy(options: Mapping[str, Any]) -> None:
    """Refuse these options where no proof file is checked. Raises UsageError."""
    from tslg.protocol.errors import UsageError

    if options["witnesses"] or options["log_keys"] or options["quorum"] is not None:
        raise UsageError(
            "--witness, --quorum and --log-key are for proof files",
            mend="leave them out: the witnesses of records are those of their manifest",
        )


def is_log_proof(path: Path) -> bool:
    """Tell whether a file begins like a `tlog-proof`."""
    from tslg.protocol.tlogproof import HEADER

    try:
        with path.open("rb") as file:
            return file.read(len(HEADER) + 1) == f"{HEADER}\n".encode()
    except OSError:
        return False


def check_log_proof(path: Path, options: Mapping[str, Any], as_json: bool) -> int:
    """Check a proof file, print the verdict, and return its exit code."""
    from tslg.protocol import cosignature, note, tlogproof
    from tslg.protocol.cid import to_text
    from tslg.protocol.limits import DEFAULT

    with path.open("rb") as file:
        proof = tlogproof.parse(file.read(DEFAULT.log_proof_bytes + 1))
    meant = tlogproof.subject(proof)
    keys = [note.parse_key(text) for text in options["witnesses"]]
    quorum = len(keys) if options["quorum"] is None else options["quorum"]
    policy = cosignature.policy_of(keys, quorum)
    wrong, witnesses = _judge(proof, policy, options["log_keys"])
    head = proof.signed.checkpoint
    verdict = "invalid" if wrong else "valid"
    told = {
        "verdict": verdict,
        "record": to_text(meant.record),
        "log": head.origin,
        "index": proof.position,
        "size": head.size,
        "root": head.root.hex(),
        "witnesses": witnesses,
        "quorum": quorum,
        "detail": wrong,
    }
    lines = [f"{verdict}  record {proof.position} of the {head.size} of {head.origin}: {to_text(meant.record)}"]
    lines += [f"  {wrong}"] if wrong else []
    lines += [f"  cosigned by {name} at {moment}" for name, moment in witnesses.items()]
    if not keys:
        lines.append("  no witness was asked for: the log may show others another history")
    emit(told, as_json, "\n".join(lines))
    return 1 if wrong else 0


def _judge(proof: LogProof, policy: Policy, log_keys: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return what is wrong with a proof, or nothing, and when which witnesses cosigned its checkpoint."""
    from tslg.protocol import checkpoint, cosignature, tlogproof
    from tslg.protocol.errors import CheckpointError
    from tslg.protocol.limits import DEFAULT

    meant, origin = tlogproof.subject(proof), proof.signed.checkpoint.origin
    keys = tlogproof.given_keys(origin, log_keys) if log_keys else tlogproof.own_keys(origin, meant.genesis)
    if not any(checkpoint.verify(proof.signed, public) for public in keys):
        return "no key of the log signed the checkpoint", {}
    if not proof.includes(meant.record):
        return "the hashes do not lead from the record to the root", {}
    latest = int(time.time()) + DEFAULT.clock_skew_ms // 1000
    try:
        times = cosignature.cosigned(proof.signed, policy, latest)
    except CheckpointError as error:
        return error.detail, {}
    told = {key.name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for key, at in times.items()}
    if len(times) < policy.quorum:
        return f"{len(times)} of the {policy.quorum} cosignatures that are needed", told
    return "", told
