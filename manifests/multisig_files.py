"""The multisig key ceremony over files: every anchor makes a key of its own and joins; then the set is closed.

The shared folder holds one public file a member, and in the end the anchors file that a manifest is compiled with. Each
anchor has a private folder of its own. Every step may be repeated and then gives the same bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tslg.manifests import bls
from tslg.manifests.files import Step, encode_message, is_bytes, is_text, read_message, slug, write_once
from tslg.manifests.keys import ANCHORS_FILE, AnchorKey, encode_anchors, read_key, write_key
from tslg.manifests.text import KEY_BYTES, POSSESSION_BYTES, AnchorKeys
from tslg.protocol.errors import ManifestError
from tslg.protocol.manifest import Member
from tslg.protocol.signatures import Alg

_JOIN: Final = "tslg multisig member"


def multisig_join(
    shared: Path, private: Path, member: str, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> Step:
    """Make a key of one's own for multisig, and publish it with the proof that one holds it.

    Raises:
        ManifestError: `TSLG-M-EXISTS` if somebody joined under this name with another key, or a file is damaged.
    """
    if not is_text(member):
        raise ManifestError(
            "a member's name is a text of 1 to 256 characters",
            code="TSLG-M-MEMBER",
            mend="name it as the manifest does",
        )
    key_file = private / f"anchor-{slug(member)}.key.json"
    if not key_file.exists():
        secret = bls.secret_from_seed(random_bytes(32))
        write_key(key_file, AnchorKey("multisig", member, int(Alg.BLS_MULTISIG), secret))
    key = read_key(key_file)
    if key.member != member or key.scheme != Alg.BLS_MULTISIG:
        raise ManifestError(f"{key_file} is the key of {key.member}", code="TSLG-M-KEY", mend="use another folder")
    path = _join_file(shared, member)
    fields = {"name": member, "key": key.public, "possession": bls.prove_possession(key.secret)}
    write_once(path, encode_message(_JOIN, fields))
    return Step((key_file, path))


def multisig_close(shared: Path, members: tuple[str, ...], threshold: int) -> Step:
    """Write the anchors file once every member has joined, in the order given.

    Raises:
        ManifestError: `TSLG-M-MISSING` naming members to wait for, `TSLG-M-FILE` naming a file that is damaged or
            whose proof does not hold, `TSLG-M-EXISTS` if other anchors were closed here before.
    """
    missing = [name for name in members if not _join_file(shared, name).exists()]
    if missing:
        raise ManifestError(
            f"{', '.join(missing)} did not join yet", code="TSLG-M-MISSING", mend="wait, or close without them"
        )
    checks = {"name": is_text, "key": is_bytes(KEY_BYTES), "possession": is_bytes(POSSESSION_BYTES)}
    joined = []
    for name in members:
        path = _join_file(shared, name)
        fields = read_message(path, _JOIN, checks)
        if fields["name"] != name or not bls.verify_possession(fields["key"], fields["possession"]):
            mend = f"ask {name} to join again"
            raise ManifestError(f"{path} does not prove {name}'s key", code="TSLG-M-FILE", mend=mend)
        joined.append(Member(name, fields["key"], fields["possession"]))
    path = shared / ANCHORS_FILE
    write_once(path, encode_anchors(int(Alg.BLS_MULTISIG), threshold, AnchorKeys(tuple(joined), None), None))
    return Step((path,))


def _join_file(shared: Path, member: str) -> Path:
    return shared / f"member-{slug(member)}.cbor"
