"""Heads as a node hears them: what is believed, forwarded and asked, and that forks are found and nobody is framed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hearing import Listener, forked, grow, head, note, records, states, told
from hypothesis import given, settings
from hypothesis import strategies as st
from world import ONE, THREE, World

from tslg.protocol import announcing, checkpoint, codec
from tslg.protocol.announcing import HeadNews, RecordsNews, StatesNews
from tslg.protocol.errors import TslgError
from tslg.protocol.heads import NEW_LOGS, UNKNOWN_MANIFEST, Heads
from tslg.protocol.limits import DEFAULT
from tslg.protocol.signatures import ed25519_secret
from tslg.protocol.verdict import Verdict

ACCEPT, IGNORE, REJECT = Verdict.ACCEPT, Verdict.IGNORE, Verdict.REJECT


@pytest.fixture
def world():
    return World()


@pytest.fixture
def author(world):
    return grow(world, world.agent("author"), 20)


# --- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("ANN-2", "ANN-6", "ANN-9")
def test_newer_heads_are_accepted_and_others_ignored(world, author):
    node = Listener(world)
    assert [node.hear(head(world, author, size)).verdict for size in (3, 7, 5, 7, 3, 8)] == [
        *(ACCEPT, ACCEPT, IGNORE, IGNORE, IGNORE, ACCEPT)
    ]
    assert node.size(author) == 8
    outcome = node.hear(head(world, author, 12))
    assert outcome.newer is not None and outcome.newer.size == 12 and outcome.agent == author.owner


@pytest.mark.spec("ANN-5")
def test_a_path_from_the_known_head_spares_the_question(world, author):
    node = Listener(world)
    node.hear(head(world, author, 3))
    assert not node.hear(head(world, author, 8, since=3)).asks
    assert node.heads.questions() == []
    assert node.hear(head(world, author, 12)).asks
    (question,) = node.heads.questions()
    assert (question.old.size, question.new.size) == (8, 12)
    assert not node.hear(head(world, author, 13, since=12)).asks or len(node.heads.questions()) == 1
    node.answer_all(author)
    assert node.heads.questions() == [] and node.heads.logs[author.owner].tied.size == 13


@pytest.mark.spec("ANN-9")
def test_a_known_head_is_forwarded_again_after_a_while(world, author):
    node = Listener(world)
    same = head(world, author)
    assert node.hear(same).verdict is ACCEPT
    assert node.hear(same, later_ms=DEFAULT.head_repeat_ms - 1).verdict is IGNORE
    assert node.hear(same, later_ms=1).verdict is ACCEPT
    forged = HeadNews(note(world.agent("x"), 1), same.told)
    assert node.hear(forged, later_ms=DEFAULT.head_repeat_ms).verdict is REJECT


@pytest.mark.spec("ANN-9")
def test_a_log_may_say_so_much_and_replays_do_not_silence_it(world, author):
    node = Listener(world)
    verdicts = [node.hear(head(world, author, size), later_ms=0).verdict for size in range(8, 16)]
    assert verdicts == [ACCEPT] * 5 + [IGNORE] * 3
    for size in (1, 2, 3, 4, 5, 6, 7) * 3:
        assert node.hear(head(world, author, size), later_ms=0).verdict is IGNORE
    assert node.hear(head(world, author, 16), later_ms=DEFAULT.head_every_ms).verdict is ACCEPT


@pytest.mark.spec("ANN-6")
@pytest.mark.parametrize(
    "wrong", ["signature", "another key", "no genesis", "another's genesis", "size", "path", "empty"]
)
def test_what_does_not_hold_is_rejected(world, author, wrong):
    node, other = Listener(world), grow(world, world.agent("other"), 3)
    good = head(world, author, 5, since=3)
    stranger = note(other, 3, root=author.tree.root(3)).replace(
        note(other, 3).split(b"\n")[0], note(author, 3).split(b"\n")[0]
    )
    bad = {
        "signature": good._replace(note=good.note.replace(b"\n5\n", b"\n6\n"), since=0, path=()),
        "another key": good._replace(note=stranger, since=0, path=()),
        "no genesis": good._replace(told=told(world, grow(world, author, 1))[1:] or ((b"", b""),)),
        "another's genesis": good._replace(told=told(world, other)),
        "size": head(world, author, 0, root=bytes(32)),
        "path": good._replace(path=(bytes(32), *good.path[1:])),
        "empty": b"",
    }[wrong]
    assert node.hear(bad).verdict is REJECT
    assert node.heads.logs == {}


@pytest.mark.spec("ANN-6")
def test_agents_of_other_federations_and_of_newer_manifests_are_ignored(world):
    elsewhere = World(seed="elsewhere")
    stranger = grow(elsewhere, elsewhere.agent("stranger"), 1)
    node = Listener(world)
    outcome = node.hear(head(elsewhere, stranger))
    assert (outcome.verdict, outcome.why) == (IGNORE, UNKNOWN_MANIFEST)


@pytest.mark.spec("ANN-6")
def test_a_genesis_that_the_anchors_did_not_seal_is_rejected_where_they_must():
    world = World(THREE.format(scheme="multisig"))
    author = grow(world, world.agent("author"), 2)
    node = Listener(world)
    assert node.hear(head(world, author)).verdict is ACCEPT
    intruder, key = world.genesis("intruder")
    from tslg.manifests.agent_keys import sign_seats
    from tslg.protocol import seal
    from tslg.protocol.checkpoint import Checkpoint
    from tslg.protocol.log import root
    from tslg.protocol.rules.seals import Seat

    entries = sign_seats(intruder, [Seat(intruder.id, -19, key.public)], {intruder.id: key})
    state = Checkpoint.of(intruder.id, 1, root([intruder.id]))
    news = HeadNews(checkpoint.encode(state, ed25519_secret(key.seed)), ((intruder.data, seal.encode(entries)),))
    assert node.hear(news).verdict is REJECT


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("ANN-3", "ANN-7")
def test_heads_by_registered_keys_count_and_by_ended_ones_no_longer(world, author):
    node = Listener(world)
    first = author.key
    world.rotate(author)
    grow(world, author, 2)
    assert node.hear(head(world, author)).verdict is ACCEPT
    # Whoever has the first key claims a longer log, before its end is known.
    stolen = head(world, grow(world, author.fork(len(author.log)), 30), key=first)
    assert node.hear(stolen).verdict is ACCEPT and node.size(author) == len(author.log) + 30
    world.revoke(author, first)
    grow(world, author, 1)
    outcome = node.hear(head(world, author))
    assert outcome.verdict is ACCEPT and node.size(author) == len(author.log)
    assert node.hear(stolen).verdict is IGNORE and node.size(author) == len(author.log)
    # What it signed of the log before its end stays what it was.
    assert Listener(world).hear(head(world, author, 5, key=first)).verdict is ACCEPT


@pytest.mark.spec("ANN-7")
def test_a_held_log_is_judged_by_the_revocations_that_are_held(world, author):
    first = author.key
    world.rotate(author)
    world.revoke(author, first)
    node = Listener(world, held={author.owner: author})
    stolen = author.fork(20)
    stolen.key = first
    outcome = node.hear(head(world, grow(world, stolen, 30)))
    assert (outcome.verdict, outcome.why) == (IGNORE, "its key is revoked")
    assert node.hear(head(world, author)).verdict is ACCEPT


# --- forks -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("ANN-8", "EQV-11")
def test_two_roots_of_one_size_are_a_fork_at_once(world):
    one, other = forked(world, "a", 5, 4)
    node = Listener(world)
    node.hear(head(world, one))
    outcome = node.hear(head(world, other))
    assert isinstance(outcome.fork, StatesNews) and outcome.fork.path == ()
    assert Listener(world).hear(outcome.fork).verdict is ACCEPT


@pytest.mark.spec("ANN-8", "EQV-11")
def test_the_path_that_an_author_announces_itself_convicts_it(world):
    one, other = forked(world, "a", 5, 4)
    grow(world, other, 6)
    node = Listener(world)
    node.hear(head(world, one, 8))
    outcome = node.hear(head(world, other, 15, since=8))
    assert outcome.fork is not None and outcome.verdict is ACCEPT
    assert Listener(world).hear(outcome.fork).fork == outcome.fork


@pytest.mark.spec("ANN-8")
def test_a_shorter_history_is_not_forwarded_but_asked_about(world):
    one, other = forked(world, "a", 5, 2)
    grow(world, one, 40)
    node = Listener(world)
    node.hear(head(world, one))
    outcome = node.hear(head(world, other))
    assert (outcome.verdict, outcome.asks, outcome.fork) == (IGNORE, True, None)
    node.answer_all(other, one)
    (fork,) = node.forks
    assert Listener(world).hear(fork).verdict is ACCEPT
    assert node.heads.questions() == []


@pytest.mark.spec("ANN-8", "ANN-10")
def test_a_proof_is_accepted_once_and_one_by_records_beside_it(world):
    one, other = forked(world, "a", 5, 4)
    node = Listener(world)
    by_states, by_records = states(world, one, 7, other, 9), records(world, one, other, 5)
    assert [node.hear(news).verdict for news in (by_states, by_states, by_records, by_records, by_states)] == [
        *(ACCEPT, IGNORE, ACCEPT, IGNORE, IGNORE)
    ]
    assert isinstance(node.heads.logs[one.owner].fork, RecordsNews)


@pytest.mark.spec("ANN-8", "ANN-10")
def test_proofs_that_prove_nothing_are_rejected(world):
    one, other = forked(world, "a", 5, 4)
    stranger = grow(world, world.agent("b"), 9)
    honest = states(world, one, 7, one, 9)
    wrong = [
        honest,
        honest._replace(path=(bytes(32), *honest.path[1:])),
        states(world, one, 7, one, 7),
        states(world, one, 7, other, 9)._replace(path=()),
        states(world, one, 7, other, 9)._replace(notes=(note(other, 9), note(one, 7))),
        StatesNews((note(one, 7), note(stranger, 9)), told(world, one), honest.path),
        records(world, one, one, 5),
        records(world, one, other, 5)._replace(records=(records(world, one, other, 5).records[0],) * 2),
        records(world, one, other, 3),
        records(world, one, stranger, 5),
    ]
    mixed = records(world, one, other, 5)
    wrong.append(mixed._replace(records=(mixed.records[0], (mixed.records[1][0], mixed.records[0][1]))))
    node = Listener(world)
    assert {node.hear(news).verdict for news in wrong} == {REJECT}
    assert node.heads.logs == {} and node.forks == []


@pytest.mark.spec("ANN-7", "ANN-10")
def test_a_record_by_a_dead_key_convicts_nobody(world, author):
    first = author.key
    world.rotate(author)
    world.revoke(author, first)
    thief = author.fork(22)
    thief.key = first
    grow(world, thief, 2)
    grow(world, author, 2)
    forged = records(world, author, thief, 23)
    assert Listener(world).hear(forged).verdict is REJECT
    unknowing = forged._replace(told=told(world, author, 22))
    assert Listener(world, held={author.owner: author}).hear(unknowing).verdict is IGNORE


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("ANN-11")
def test_one_neighbour_brings_so_many_new_logs_and_is_named_once_a_minute(world):
    limits = replace(DEFAULT, heads_new_logs_per_minute=4)
    node = Listener(world, limits)
    sybils = [head(world, world.agent(f"sybil {number}")) for number in range(20)]
    outcomes = [node.hear(news, "hostile", later_ms=1) for news in sybils]
    assert [outcome.verdict for outcome in outcomes] == [ACCEPT] * 8 + [IGNORE] * 12
    assert [outcome.over for outcome in outcomes] == [False] * 8 + [True] + [False] * 11
    assert {outcome.why for outcome in outcomes[8:]} == {NEW_LOGS}
    assert node.hear(sybils[9], "honest", later_ms=1).verdict is ACCEPT
    assert node.hear(sybils[10], "hostile", later_ms=60_000).verdict is ACCEPT


@pytest.mark.spec("ANN-11")
def test_when_there_are_too_many_logs_whoever_brought_most_gives_way(world):
    node = Listener(world, replace(DEFAULT, heads_bytes=40_000))
    honest = [world.agent(f"honest {number}") for number in range(3)]
    for agent in honest:
        node.hear(head(world, agent), "honest")
    held = grow(world, world.agent("held"), 1)
    node.logs[held.owner] = held
    node.hear(head(world, held), "hostile")
    for number in range(40):
        node.hear(head(world, world.agent(f"sybil {number}")), "hostile")
    strangers = [log for log in node.heads.logs.values() if log.via is not None]
    assert 5 < len(strangers) < 20 and sum(log.weight for log in strangers) <= 40_000
    assert {agent.owner for agent in [*honest, held]} <= node.heads.logs.keys()


@pytest.mark.spec("ANN-1", "ANN-11")
def test_large_checkpoints_are_rejected_and_what_is_kept_is_counted(world, author):
    node = Listener(world)
    padded = checkpoint.parse(note(author, 5))
    wide = padded.checkpoint._replace(extensions=("x" * DEFAULT.announced_checkpoint_bytes,))
    news = head(world, author, 5)._replace(note=checkpoint.encode(wide, ed25519_secret(author.keys[author.key].seed)))
    assert node.hear(news).verdict is REJECT
    node.hear(head(world, author, 5))
    before = node.heads.logs[author.owner].weight
    node.hear(head(world, author, 7))
    log = node.heads.logs[author.owner]
    assert log.weight > before and node.heads._strangers == {"neighbour": {author.owner: log.weight}}


@pytest.mark.spec("ANN-11")
def test_what_a_log_leaves_unproved_is_kept_up_to_a_number_the_first_among_it(world):
    author = grow(world, world.agent("a"), 60)
    node = Listener(world)
    for size in range(1, 60, 2):
        assert node.hear(head(world, author, size)).verdict is ACCEPT
    log = node.heads.logs[author.owner]
    assert [one.size for one in log.heads] == [1, 3, 5, 7, 9, 11, 13, 15, 59]
    node.answer_all(author)
    assert node.heads.questions() == [] and log.tied.size == 59


def test_what_was_kept_is_there_again(world):
    one, other = forked(world, "a", 5, 4)
    node = Listener(world)
    node.hear(head(world, one, 7))
    node.hear(head(world, one, 9))
    log = node.heads.logs[one.owner]
    again = Listener(world)
    again.heads.restore(one.owner, "neighbour", log.heads, log.speakers.told, None)
    assert again.size(one) == 9 and len(again.heads.questions()) == 1
    again.answer_all(one)
    assert again.heads.questions() == []
    convicted = Listener(world)
    proof = states(world, one, 7, other, 9)
    convicted.heads.restore(one.owner, "neighbour", [], log.speakers.told, proof)
    assert convicted.heads.logs[one.owner].fork == proof
    with pytest.raises(TslgError):
        convicted.heads.restore(one.owner, "neighbour", log.heads, ((b"", b""),), None)


# --- any order -------------------------------------------------------------------------------------------------------

SCENE = World(ONE.format(attested=0), "scene of heads")
STRAIGHT = grow(SCENE, SCENE.agent("straight"), 40)
LEFT, RIGHT = forked(SCENE, "forked", 9, 30)
STEPS = st.lists(st.tuples(st.integers(1, 39), st.integers(0, 39), st.booleans()), max_size=25)


@pytest.mark.spec("ANN-8", "ANN-9")
@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_in_any_order_an_honest_log_is_known_up_to_its_largest_head_and_never_accused(steps):
    node = Listener(SCENE)
    for size, since, answers in steps:
        node.hear(head(SCENE, STRAIGHT, size, since if since < size else 0))
        if answers:
            node.answer_all(STRAIGHT)
    node.answer_all(STRAIGHT)
    assert node.forks == [] and node.heads.questions() == []
    assert node.size(STRAIGHT) == max((size for size, _, _ in steps), default=0)


@pytest.mark.spec("ANN-8")
@given(st.lists(st.tuples(st.integers(1, 39), st.booleans(), st.booleans()), max_size=DEFAULT.heads_unchecked))
@settings(max_examples=100, deadline=None)
def test_a_fork_is_found_exactly_when_both_sides_were_seen(steps):
    node = Listener(SCENE)
    for size, left, linked in steps:
        side = LEFT if left else RIGHT
        log = node.heads.logs.get(LEFT.owner)
        known = log.newest.size if log is not None and log.newest is not None else 0
        node.hear(head(SCENE, side, size, known if linked and known < size else 0))
    node.answer_all(LEFT, RIGHT)
    seen = {left for size, left, _ in steps if size > 9}
    assert len(node.forks) == (1 if len(seen) == 2 else 0)
    for fork in node.forks:
        assert Listener(SCENE).hear(fork).verdict is ACCEPT


VALID = [head(SCENE, STRAIGHT, 9, 4).to_bytes(), states(SCENE, LEFT, 11, RIGHT, 20).to_bytes()]
VALID += [records(SCENE, LEFT, RIGHT, 9).to_bytes()]


@pytest.mark.spec("ANN-1", "ANN-10")
@given(st.sampled_from(VALID), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_no_altered_announcement_is_believed_or_raises(data, place, change):
    place %= len(data)
    altered = data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]
    outcome = Heads(SCENE.federation, Listener(SCENE), DEFAULT).hear(altered, "author", "via", 0)
    if outcome.verdict is ACCEPT:
        # Then the change is in a checkpoint's line that nobody looks for, or in a path of no use.
        assert announcing.read(altered).told == announcing.read(data).told
    assert outcome.fork is None or outcome.fork.to_bytes() == altered


@pytest.mark.spec("ANN-1")
@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"head": {}},
        {"head": {"checkpoint": b"", "keys": [], "since": 0, "path": []}},
        {"head": {"checkpoint": b"", "keys": [[b"", b""]], "since": 1, "path": []}},
        {"head": {"checkpoint": b"", "keys": [[b"", b""]], "since": 0, "path": [bytes(32)]}},
        {"head": {"checkpoint": b"", "keys": [[b"", b""]], "since": 1, "path": [bytes(31)]}},
        {"head": {"checkpoint": b"", "keys": [[b"", b""]] * 65, "since": 0, "path": []}},
        {"head": {"checkpoint": "", "keys": [[b"", b""]], "since": 0, "path": []}},
        {"fork": {"checkpoints": [b""], "keys": [[b"", b""]], "path": []}},
        {"fork": {"checkpoints": [b"", b""], "keys": [[b"", b""]], "path": [bytes(32)] * 66}},
        {"fork": {"records": [[b"", b""]], "keys": [[b"", b""]]}},
        {"fork": {"records": [[b"", b"", b""]] * 2, "keys": [[b"", b""]]}},
        {"fork": {"records": [[b"", b""]] * 2, "keys": [[b"", b""]]}, "head": {}},
        {"news": {"records": [[b"", b""]] * 2, "keys": [[b"", b""]]}},
    ],
)
def test_what_is_no_announcement_is_rejected(world, value):
    with pytest.raises(TslgError):
        announcing.read(codec.encode(value))
    assert Listener(world).hear(codec.encode(value)).verdict is REJECT


@pytest.mark.spec("ANN-1")
def test_announcements_are_read_as_they_were_written(world, author):
    for data in VALID:
        assert announcing.read(data).to_bytes() == data
    large = head(world, author, 5)
    large = large._replace(told=large.told * 60, note=bytes(60_000))
    assert Listener(world).hear(large).verdict is REJECT
    assert announcing.topic_of(world.federation).startswith("/tslg/heads/1/b")
