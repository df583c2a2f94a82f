"""Files that are written once and whole, and anchors' keys in them."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest

from tslg.manifests import bls, files, keys
from tslg.manifests.keys import AnchorKey
from tslg.protocol.errors import ManifestError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.signatures import Alg

KEY = AnchorKey("ceremony", "alice", int(Alg.BLS_MULTISIG), (7).to_bytes(32, "big"))


def test_a_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert files.write_once(path, b"one")
    assert not files.write_once(path, b"one")
    with pytest.raises(ManifestError, match=r"TSLG-M-EXISTS: .*file exists and holds something else"):
        files.write_once(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_all_may_read_what_is_public_and_only_its_owner_writes(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.write_once(tmp_path / "open" / "file", b"x")
        files.write_once(tmp_path / "shut" / "file", b"x", files.PRIVATE_MODE)
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("open/file", "open", "shut/file", "shut")]
    assert modes == [0o644, 0o777, 0o600, 0o700]


def test_a_writer_that_comes_second_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    monkeypatch.setattr(Path, "exists", lambda self: False)
    files.write_once(path, b"one")
    assert not files.write_once(path, b"one")
    with pytest.raises(ManifestError, match="TSLG-M-EXISTS"):
        files.write_once(path, b"two")
    assert list(tmp_path.iterdir()) == [path]


def test_file_systems_without_hard_links_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    files.write_once(tmp_path / "file", b"one")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ManifestError, match="TSLG-M-FILE"):
        files.write_once(tmp_path / "file" / "below", b"x")
    with pytest.raises(ManifestError, match="TSLG-M-FILE"):
        files.read_bytes(tmp_path)
    with pytest.raises(ManifestError, match="TSLG-M-ABSENT"):
        files.read_bytes(tmp_path / "none")


def test_a_key_is_read_back_and_stays_secret(tmp_path: Path) -> None:
    path = tmp_path / "a.key.json"
    assert keys.write_key(path, KEY)
    assert not keys.write_key(path, KEY)
    assert keys.read_key(path) == KEY
    assert path.stat().st_mode & 0o777 == 0o600
    assert KEY.secret.hex() not in repr(KEY) and repr(KEY.secret) not in repr(KEY)
    with pytest.raises(ManifestError, match="TSLG-M-EXISTS"):
        keys.write_key(path, AnchorKey("ceremony", "alice", KEY.scheme, (8).to_bytes(32, "big")))
    assert keys.read_key(path) == KEY


def test_a_key_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key.json"
    keys.write_key(path, KEY)
    path.chmod(0o640)
    with pytest.raises(ManifestError, match=r"TSLG-M-KEY: .* can be read by others .*chmod 600"):
        keys.read_key(path)


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "00" * 32},
        {"secret": "zz"},
        {"secret": 5},
        {"secret": (8).to_bytes(32, "big").hex()},
        {"scheme": []},
        {"scheme": "rsa"},
        {"member": None},
        {"type": "other"},
        {"more": 1},
    ],
)
def test_a_damaged_key_file_is_named_and_not_repeated(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "a.key.json"
    keys.write_key(path, KEY)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ManifestError) as caught:
        keys.read_key(path)
    assert caught.value.code == "TSLG-M-KEY"
    assert str(path) in caught.value.detail
    assert KEY.secret.hex()[-8:] not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", ["", "{", "[" * 5000, "null", '"x"'])
def test_what_is_no_key_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.key.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ManifestError, match="TSLG-M-KEY"):
        keys.read_key(path)


def anchors_file(path: Path, **change: object) -> Path:
    proof = bls.prove_possession(KEY.secret)
    member = {"name": "alice", "key": bls.public_key(KEY.secret), "possession": proof}
    fields = {"scheme": KEY.scheme, "threshold": 1, "members": [member], "group_key": None, "transcript": None}
    if "member" in change:
        fields["members"] = [member | change.pop("member")]  # type: ignore[operator]
    path.write_bytes(files.encode_message("tslg anchors", fields | change))
    return path


def test_anchors_are_read_back(tmp_path: Path) -> None:
    group = keys.read_group(anchors_file(tmp_path / "a", group_key=bytes(48), transcript=bytes(32)))
    assert [member.name for member in group.members] == ["alice"]
    assert (group.scheme, group.threshold, group.group_key) == (KEY.scheme, 1, bytes(48))
    assert keys.read_group(anchors_file(tmp_path / "b", member={"name": "n" * 256})).group_key is None


@pytest.mark.parametrize(
    "change",
    [
        {"scheme": -19},
        {"threshold": -1},
        {"threshold": True},
        {"members": []},
        {"members": {}},
        {"members": [1]},
        {"member": {"name": ""}},
        {"member": {"name": "n" * 257}},
        {"member": {"name": 5}},
        {"member": {"key": bytes(47)}},
        {"member": {"key": "k" * 48}},
        {"member": {"possession": bytes(95)}},
        {"member": {"possession": bytes(97)}},
        {"member": {"possession": None}},
        {"member": {"more": 1}},
        {"group_key": bytes(49)},
        {"group_key": 0},
        {"transcript": bytes(31)},
        {"transcript": ""},
        {"type": "tslg ceremony"},
        {"type": "another"},
        {"type": None},
        {"more": 1},
    ],
)
def test_an_anchors_file_with_a_field_of_another_type_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = anchors_file(tmp_path / "a", **change)
    with pytest.raises(ManifestError, match="TSLG-M-FILE") as caught:
        keys.read_group(path)
    assert str(path) in caught.value.detail


def test_more_anchors_than_a_manifest_may_have_are_refused(tmp_path: Path) -> None:
    member = {"name": "a", "key": bytes(48), "possession": bytes(96)}
    keys.read_group(anchors_file(tmp_path / "most", members=[member] * DEFAULT.anchors))
    with pytest.raises(ManifestError, match="TSLG-M-FILE"):
        keys.read_group(anchors_file(tmp_path / "more", members=[member] * (DEFAULT.anchors + 1)))


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert files.read_bytes(tmp_path / "file", 4) == b"1234"
    with pytest.raises(ManifestError, match="is larger than 3 bytes"):
        files.read_bytes(tmp_path / "file", 3)


def test_what_cannot_be_part_of_a_files_name_is_replaced_and_stays_distinct() -> None:
    assert files.slug("alice-2") == "alice-2"
    changed = ["Alice", "alice ", "-alice", "../alice", "n" * 41, "n" * 42, "é", "è"]
    slugs = [files.slug(name) for name in changed]
    assert len(set(slugs)) == len(changed)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,47}[a-z0-9])", name) for name in slugs)
    assert slugs[0].startswith("alice-") and slugs[4].startswith("n" * 40 + "-")
