"""Tile paths and widths against the counts that C2SP tlog-tiles gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tslg.protocol.cid import compute
from tslg.protocol.log import Tree
from tslg.protocol.tiles import WIDTH, Tile, entries, hashes, index_path, tiles

C2SP = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp.json").read_text(encoding="utf-8"))


@pytest.mark.spec("CHK-14")
def test_published_paths():
    assert {index: index_path(int(index)) for index in C2SP["tile_paths"]} == C2SP["tile_paths"]
    assert Tile(1, 5, 256).path == "tile/1/005" and Tile(None, 1000, 7).path == "tile/entries/x001/000.p/7"


@pytest.mark.parametrize("size", C2SP["tile_counts"])
@pytest.mark.spec("CHK-14")
def test_published_counts(size):
    found = list(tiles(int(size)))
    for level, (full, partial) in C2SP["tile_counts"][size].items():
        mine = [tile for tile in found if tile.level == int(level)]
        assert [tile.width for tile in mine] == [WIDTH] * full + [partial] * (partial > 0)
    assert {str(tile.level) for tile in found if tile.level is not None} == set(C2SP["tile_counts"][size])


@given(st.integers(0, 200_000), st.integers(0, 3_000))
def test_what_is_new_and_what_was_there_make_the_whole(old, more):
    size = old + more
    whole, before, new = set(tiles(size)), set(tiles(old)), list(tiles(size, old))
    assert len(set(new)) == len(new) and set(new) <= whole
    assert whole <= before | set(new)
    assert all(tile not in before for tile in new)


def test_entries_stand_behind_their_lengths():
    assert entries([b"ab", b"", b"c" * 258]) == b"\x00\x02ab\x00\x00\x01\x02" + b"c" * 258


@pytest.mark.spec("CHK-14")
def test_a_tile_of_hashes_holds_the_complete_nodes_of_its_level():
    tree = Tree([compute(bytes([n % 256, n // 256])) for n in range(WIDTH + 7)])
    held = {(t.level, t.number): hashes(t, tree.node) for t in tiles(tree.size) if t.level is not None}
    assert held == {
        (0, 0): b"".join(tree.node(0, n) for n in range(WIDTH)),
        (0, 1): b"".join(tree.node(0, WIDTH + n) for n in range(7)),
        (1, 0): tree.root(WIDTH),
    }


def test_a_tree_that_nobody_saw_before_is_all_new():
    assert list(tiles(1)) == list(tiles(1, 0)) == [Tile(None, 0, 1), Tile(0, 0, 1)]
