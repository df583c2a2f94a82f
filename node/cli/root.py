"""`tslg`: the table of commands, and how every command ends: a verdict's exit code, or one line and exit code 3."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import click
from click.shell_completion import shell_complete

from tslg.node.cli.lazy import Lazy, LazyGroup
from tslg.node.cli.output import USAGE_OR_ENVIRONMENT, fail, note
from tslg.protocol.errors import BundleError, TslgError

PROGRAM: Final = "tslg"
COMPLETE: Final = "_TSLG_COMPLETE"
"""Environment variable by which a shell asks for completions; click's own naming."""
INVALID: Final = 1
STOPPED: Final = 130
"""Exit code when the user, or whoever read the output, had enough."""
DEBUG: Final = "TSLG_DEBUG"
"""Environment variable that brings back the traceback of an error that nobody foresaw."""

COMMANDS: Final = {
    "demo": Lazy("tslg.node.cli.demo:demo", "Show all of it on real input, tampering included."),
    "federation": Lazy("tslg.node.cli.federation:federation", "Found, sign, amend and show federations."),
    "agent": Lazy("tslg.node.cli.agent:agent", "Make agents, change their keys, and show those that are here."),
    "node": Lazy("tslg.node.cli.running:node", "Run a node."),
    "replicate": Lazy("tslg.node.cli.replicate:replicate", "Hold other agents' logs whole, and follow them."),
    "stream": Lazy("tslg.node.cli.stream:stream", "Print others' governed steps as they are recorded, verified."),
    "peers": Lazy("tslg.node.cli.peers:peers", "List the peers that a node knows; name, forget and block some."),
    "record": Lazy("tslg.node.cli.record:record", "Append one record to an agent's log."),
    "log": Lazy("tslg.node.cli.show:log", "List logs, or the records of one."),
    "show": Lazy("tslg.node.cli.show:show", "Show one record."),
    "disclose": Lazy("tslg.node.cli.disclose:disclose", "Show single fields of a record, with their proofs."),
    "access": Lazy("tslg.node.cli.reading:access", "Say who may read which records, and ask who may."),
    "redact": Lazy("tslg.node.cli.redact:redact", "Destroy fields or blobs of a record, and record that."),
    "gate": Lazy("tslg.node.cli.gate:gate", "Judge models' steps by a policy, before they are taken."),
    "vault": Lazy("tslg.node.cli.vault:vault", "Keep plaintexts of models' steps, encrypted."),
    "replay": Lazy("tslg.node.cli.replay:replay", "Hold a step of a model against what was kept of it."),
    "verify": Lazy("tslg.node.cli.verify:verify", "Verify a record held here, a bundle or a proof."),
    "audit": Lazy("tslg.node.cli.audit:audit", "Verify a record over the network."),
    "query": Lazy("tslg.node.cli.query:query", "Ask what a record rests on, and what holds now."),
    "artifact": Lazy("tslg.node.cli.artifact:artifact", "Record packages, and ask what they derive from and inherit."),
    "opening": Lazy("tslg.node.cli.opening:opening", "Hand over what opens a confidential policy."),
    "delegate": Lazy("tslg.node.cli.delegate:delegate", "Hand a task to an agent of another node."),
    "delegations": Lazy("tslg.node.cli.delegations:delegations", "List delegations, and cancel them."),
    "engine": Lazy("tslg.node.cli.engine:engine", "Take in records of others' engines, or hand one's own in."),
    "shared": Lazy("tslg.node.cli.shared:shared", "Anchor records in a log that a neutral operator keeps for many."),
    "joint": Lazy("tslg.node.cli.joint:joint", "Authorise together: one record, sealed by several agents."),
    "checkpoint": Lazy("tslg.node.cli.checkpoint:checkpoint", "Sign the state of a log, or observe that of another's."),
    "prove": Lazy("tslg.node.cli.proving:prove", "Prove that a record lies in its log."),
    "witness": Lazy("tslg.node.cli.witness:witness", "Run a witness that cosigns logs, and use witnesses."),
    "prune": Lazy("tslg.node.cli.pruning:prune", "Let go of old records, and commit to what they were."),
    "challenge": Lazy("tslg.node.cli.challenging:challenge", "Prove whether a record is, was or never was in its log."),
    "summary": Lazy("tslg.node.cli.summaries:summary", "Check steps against the summaries that stand for them."),
    "import": Lazy("tslg.node.cli.importing:import_", "Read lineage from a file."),
    "export": Lazy("tslg.node.cli.bundles:export", "Write lineage to a file."),
    "store": Lazy("tslg.node.cli.store:store", "Show where the lineage is kept, or move it into a database."),
    "shards": Lazy("tslg.node.cli.shards:shards", "Spread a lineage over several stores."),
    "fsck": Lazy("tslg.node.cli.maintenance:fsck", "Check a data directory, and repair its index."),
    "backup": Lazy("tslg.node.cli.maintenance:backup", "Copy a data directory into a file."),
    "restore": Lazy("tslg.node.cli.maintenance:restore", "Make a data directory of such a copy."),
    "simulate": Lazy("tslg.simulations.cli:simulate", "Run a population of agents, honest and hostile, on one seed."),
    "lab": Lazy("tslg.simulations.lab.cli:lab", "Breed small models under two vendors, and release or roll them back."),
    "mcp": Lazy("tslg.node.cli.mcp:mcp", "Govern MCP servers' tools, and answer agents about lineage."),
    "bench": Lazy("tslg.node.cli.bench:bench", "Measure speed against libsodium and SQLite."),
    "completion": Lazy("tslg.node.cli.maintenance:completion", "Print a shell's completion script."),
}


class Root(LazyGroup):
    """The outermost group: turns whatever a command raises into one line on stderr and an exit code.

    A command may also return its exit code; None is 0.
    """

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> Any:
        """Run the command line; always ends in SystemExit."""
        name = prog_name or PROGRAM
        instruction = os.environ.get(COMPLETE)
        if instruction:
            sys.exit(shell_complete(self, {}, name, COMPLETE, instruction))
        sys.exit(self._outcome(name, list(sys.argv[1:] if args is None else args)))

    def _outcome(self, name: str, args: list[str]) -> int:
        """Run a command and return its exit code: 0 to 2 are verdicts, 3 is usage or environment."""
        try:
            with self.make_context(name, args) as context:
                code = self.invoke(context)
            return code if type(code) is int else 0
        except click.exceptions.Exit as error:
            return error.exit_code
        except (KeyboardInterrupt, click.Abort):
            return STOPPED
        except BrokenPipeError:
            _let_go_of_stdout()
            return STOPPED
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
        except click.ClickException as error:
            _say_usage(error)
        except TslgError as error:
            fail(error)
            return INVALID if isinstance(error, BundleError) else USAGE_OR_ENVIRONMENT
        except BaseExceptionGroup as group:
            if group.subgroup(KeyboardInterrupt) is not None:
                return STOPPED
            if group.subgroup(BrokenPipeError) is not None:
                _let_go_of_stdout()
                return STOPPED
            if not isinstance(group, Exception):
                raise
            _say_unforeseen(group)
        except Exception as error:
            _say_unforeseen(error)
        return USAGE_OR_ENVIRONMENT


def _let_go_of_stdout() -> None:
    """Let what is still buffered for a reader that is gone go nowhere, or the interpreter complains as it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_usage(error: click.ClickException) -> None:
    context = getattr(error, "ctx", None)
    mend = f" (see `{context.command_path} --help`)" if context is not None else ""
    note(f"error: TSLG-U-USAGE: {' '.join(error.format_message().split())}{mend}")


def _say_unforeseen(error: BaseException) -> None:
    """Say in one line what no command foresaw: a file that cannot be used, or a defect of ours."""
    if os.environ.get(DEBUG):
        raise error
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, TslgError):
        fail(error)
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        note(f"error: TSLG-U-FILE: {where}{error.strerror or error} (check the path and its rights)")
    else:
        text = " ".join(str(error).split())[:300]
        note(
            f"error: TSLG-U-DEFECT: {type(error).__name__}: {text} (a defect: please report it; {DEBUG}=1 shows where)"
        )


@click.group(cls=Root, lazy=COMMANDS)
@click.version_option(package_name="tslg", message="%(prog)s %(version)s")
def tslg() -> None:
    """Keep an AI agent's signed lineage, and check anybody else's.

    Exit codes: 0 valid, 1 invalid, 2 undetermined, 3 usage or environment.
    """
