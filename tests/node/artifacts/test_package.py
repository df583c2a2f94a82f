"""Packages on disk: one content hash for the same files, and nothing that is no package gets one."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.node.artifacts.package import (
    FileEntry,
    check_path,
    compare,
    hash_folder,
    package_of,
    read_listing,
    write_package,
)
from tslg.protocol import codec
from tslg.protocol.errors import PackageError


def write(root, files):
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root


FILES = {"weights.bin": b"w" * 100_000, "config/a.json": b"{}", "config/b.json": b"[]", "README": b""}


@pytest.mark.spec("ART-1", "ART-4")
def test_the_content_hash_is_that_of_the_listing_whatever_order_times_and_rights(tmp_path):
    one = write(tmp_path / "one", FILES)
    two = write(tmp_path / "two", dict(reversed(FILES.items())))
    (two / "empty" / "deeper").mkdir(parents=True)
    (two / "README").chmod(0o600)
    os.utime(two / "weights.bin", (1, 1))
    found = hash_folder(one)
    assert found == hash_folder(two)
    entries = {path: [len(data), hashlib.sha256(data).digest()] for path, data in FILES.items()}
    assert found.listing == codec.encode(entries)
    assert found.digest == hashlib.sha256(found.listing).digest()
    assert (len(found.files), found.size) == (4, 100_004)
    assert found.body()["package"]["size"] == len(found.listing)
    assert list(found.files) == list(codec.decode(found.listing))


def test_reading_is_told_as_it_goes_on(tmp_path):
    read = []
    hash_folder(write(tmp_path / "p", {"big": bytes(3_000_000)}), read.append)
    assert sum(read) == 3_000_000 and max(read) <= 1024 * 1024


def test_one_file_is_a_package_of_one_file(tmp_path):
    root = write(tmp_path / "p", FILES)
    assert list(hash_folder(root / "weights.bin").files) == ["weights.bin"]


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        (lambda root: (root / "README").write_bytes(b"x"), [("changed", "README")]),
        (lambda root: (root / "config" / "a.json").unlink(), [("missing", "config/a.json")]),
        (lambda root: (root / "new").write_bytes(b""), [("added", "new")]),
        (lambda root: (root / "README").rename(root / "readme"), [("missing", "README"), ("added", "readme")]),
    ],
)
def test_what_changed_is_told(tmp_path, change, differences):
    root = write(tmp_path / "p", FILES)
    before = hash_folder(root)
    change(root)
    after = hash_folder(root)
    assert compare(before, after) == differences and after.digest != before.digest


@pytest.mark.spec("ART-3")
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda p: p.symlink_to("/etc/passwd"), "TSLG-F-LINK"),
        (lambda p: p.symlink_to("README"), "TSLG-F-LINK"),
        (lambda p: p.symlink_to("/", target_is_directory=True), "TSLG-F-LINK"),
        (os.mkfifo, "TSLG-F-SPECIAL"),
    ],
)
def test_links_and_special_files_are_refused(tmp_path, make, code):
    root = write(tmp_path / "p", FILES)
    make(root / "config" / "odd")
    with pytest.raises(PackageError) as caught:
        hash_folder(root)
    assert caught.value.code == code and "config/odd" in caught.value.detail


def test_a_link_by_its_own_name_is_refused(tmp_path):
    write(tmp_path / "p", FILES)
    (tmp_path / "link").symlink_to(tmp_path / "p" / "README")
    with pytest.raises(PackageError):
        hash_folder(tmp_path / "link")


@pytest.mark.spec("ART-2")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "a/../b",
        "a/./b",
        "a\\b",
        "a\nb",
        "a\x7f",
        "x" * 1025,
        "/".join("a" * 65),
        "\ud800",
        7,
    ],
)
def test_a_path_that_no_package_may_have(path):
    with pytest.raises(PackageError) as caught:
        check_path(path)
    assert caught.value.code == "TSLG-F-PATH"


@pytest.mark.parametrize("path", ["a", "a/b.txt", "…/ü", " a ", "/".join("a" * 64), "x" * 1024, "a..b/..c"])
def test_a_path_that_a_package_may_have(path):
    check_path(path)


@pytest.mark.spec("ART-2")
def test_a_package_has_files_and_no_file_is_a_folder(tmp_path):
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    entry = FileEntry(0, bytes(32))
    for bad in (lambda: hash_folder(tmp_path / "empty"), lambda: package_of({"a": entry, "a/b": entry})):
        with pytest.raises(PackageError):
            bad()
    with pytest.raises(PackageError):
        hash_folder(tmp_path / "nowhere")


def test_a_name_on_disk_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(PackageError) as caught:
        hash_folder(tmp_path / "p")
    assert caught.value.code == "TSLG-F-PATH"


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        codec.encode([]),
        codec.encode({}),
        codec.encode({"a": [0]}),
        codec.encode({"a": [0, b"short"]}),
        codec.encode({"a": [-1, bytes(32)]}),
        codec.encode({"../a": [0, bytes(32)]}),
        codec.encode({"a": {"size": 0}}),
        codec.encode({"a": [0, bytes(32), 1]}),
        codec.encode({"a": [0, bytes(32)]}) + b"\x00",
    ],
)
def test_what_is_no_listing_is_refused(listing):
    with pytest.raises(PackageError):
        read_listing(listing)


@settings(max_examples=25)
@given(st.dictionaries(st.text("ab/.é", min_size=1, max_size=6), st.integers(0, 9), min_size=1, max_size=5))
def test_listings_are_read_as_they_were_written_or_not_at_all(files):
    entries = {path: FileEntry(size, bytes([size]) * 32) for path, size in files.items()}
    try:
        package = package_of(entries)
    except PackageError:
        return
    assert read_listing(package.listing) == package and package.files == entries


def test_a_package_is_written_as_it_was(tmp_path):
    package = hash_folder(write(tmp_path / "one", FILES))
    kept = {hashlib.sha256(data).digest(): data for data in FILES.values()}
    assert write_package(package, kept.get, tmp_path / "two") == []
    assert hash_folder(tmp_path / "two") == package
    del kept[hashlib.sha256(b"{}").digest()]
    assert write_package(package, kept.get, tmp_path / "three") == ["config/a.json"]
    assert not any((tmp_path / "three").iterdir()), "what is not whole is not there"
    kept[hashlib.sha256(b"{}").digest()] = b"{}"
    with pytest.raises(PackageError, match="not empty"):
        write_package(package, kept.get, tmp_path / "two")
    kept[hashlib.sha256(b"[]").digest()] = b"forged"
    with pytest.raises(PackageError) as caught:
        write_package(package, kept.get, tmp_path / "four")
    assert caught.value.code == "TSLG-F-CHANGED"


def test_a_file_that_is_put_in_place_of_another_while_it_is_read_is_noticed(tmp_path):
    root = write(tmp_path / "p", {"big": bytes(2_500_000)})

    def grow(count):
        with (root / "big").open("ab") as file:
            file.write(b"more")

    with pytest.raises(PackageError) as caught:
        hash_folder(root, grow)
    assert caught.value.code == "TSLG-F-CHANGED"
