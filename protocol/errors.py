"""Every error of the project: typed, with a stable code, ids as fields, and what would mend it.

TslgError
├── CodecError            bytes or a value that are not a canonical record value      TSLG-C-…
├── CidError              not an id of a kind we accept                               TSLG-C-CID
├── RecordError           well-formed bytes that are not a record                     TSLG-R-…
├── SealError             not a seal                                                  TSLG-S-…
├── BundleError           not a bundle                                                TSLG-B-…
├── AttachmentError       not the attachment that belongs to its record               TSLG-T-…
├── CheckpointError       not a checkpoint, or not signed by its agent                TSLG-K-…
├── Refusal               a record that an admission rule refuses                     TSLG-A-…
├── ManifestError         a manifest text or ceremony that cannot be used             TSLG-M-…
├── StoreError            the data directory cannot be used                           TSLG-D-…
├── VaultError            a plaintext that cannot be kept, or is not to be had        TSLG-P-…
├── SubmissionError       what an engine handed in and its tenant does not take       TSLG-E-…
├── NetworkError          a peer that could not be asked, or broke the protocol       TSLG-N-…
│   └── AnchoringError    a log that is ahead of what witnesses cosigned                 TSLG-N-UNANCHORED
├── Rejected, Unrecorded  a step that a gate did not let take effect               TSLG-G-…
├── AdapterError          material of another format that cannot be imported          TSLG-I-…
├── PackageError          files that cannot be a package, or are not the one recorded   TSLG-F-…
└── UsageError            a call or command that cannot be carried out as given       TSLG-U-…
"""

from __future__ import annotations


class TslgError(Exception):
    """Base of every error that the project raises on purpose.

    Attributes:
        code: stable, documented, never reused.
        detail: what is wrong, one line.
        mend: what would mend it, one line, or an empty string.
        record: the id (binary CID) that the error is about, if any.
    """

    code = "TSLG-ERROR"

    def __init__(self, detail: str, *, code: str | None = None, mend: str = "", record: bytes | None = None) -> None:
        super().__init__(detail)
        self.code = code if code is not None else type(self).code
        self.detail = detail
        self.mend = mend
        self.record = record

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" + (f" ({self.mend})" if self.mend else "")


class CodecError(TslgError, ValueError):
    """Bytes that are not canonical DAG-CBOR as the spec narrows it, or a value that has no such bytes."""

    code = "TSLG-C-CODEC"


class CidError(TslgError, ValueError):
    """Text or bytes that are not an id of a kind we accept."""

    code = "TSLG-C-CID"


class RecordError(TslgError, ValueError):
    """Canonical bytes that are not a record."""

    code = "TSLG-R-RECORD"


class SealError(TslgError, ValueError):
    """Bytes that are not a seal."""

    code = "TSLG-S-SEAL"


class BundleError(TslgError, ValueError):
    """A file that is not a bundle, or a bundle that is not what it says."""

    code = "TSLG-B-BUNDLE"


class AttachmentError(TslgError, ValueError):
    """An attachment that does not belong to the record that it came with."""

    code = "TSLG-T-ATTACHMENT"


class CheckpointError(TslgError, ValueError):
    """A file that is not a checkpoint, or one that its agent did not sign."""

    code = "TSLG-K-CHECKPOINT"


class Refusal(TslgError):
    """A record that an admission rule refuses. `code` names the rule, `record` the refused record."""

    code = "TSLG-A-REFUSED"


class ManifestError(TslgError, ValueError):
    """A manifest text, key file or ceremony file that cannot be used as it is."""

    code = "TSLG-M-MANIFEST"


class StoreError(TslgError):
    """A data directory or database that cannot be used."""

    code = "TSLG-D-STORE"


class VaultError(TslgError):
    """A plaintext that cannot be kept or handed out. `record` is the one it is of."""

    code = "TSLG-P-VAULT"


class SubmissionError(TslgError):
    """What an engine handed in and its tenant does not take. `record` is what it is about."""

    code = "TSLG-E-SUBMISSION"


class NetworkError(TslgError):
    """A peer that could not be reached, refused, or broke the protocol."""

    code = "TSLG-N-NETWORK"


class AnchoringError(NetworkError):
    """A log that is ahead of what witnesses cosigned. `record` is its agent; nothing that was recorded is lost."""

    code = "TSLG-N-UNANCHORED"


class WorkError(TslgError):
    """Work that was handed to other processes and not done. Nothing is decided by it."""

    code = "TSLG-U-WORKER"


class AdapterError(TslgError, ValueError):
    """Material of another format that cannot be imported; `detail` has a line for each thing that is wrong."""

    code = "TSLG-I-IMPORT"


class PackageError(TslgError, ValueError):
    """Files that cannot be the package of an artifact, or that are not the one that its record names."""

    code = "TSLG-F-PACKAGE"


class UsageError(TslgError, ValueError):
    """A call or a command that cannot be carried out as it was given."""

    code = "TSLG-U-USAGE"
