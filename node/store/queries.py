"""The SQL that reads the store. `{marks}` and `{classes}` are filled with placeholders, never with values."""

from __future__ import annotations

from typing import Final

GET: Final = "SELECT data, seal, attachment FROM record WHERE cid = ? AND data IS NOT NULL"
GET_MANY: Final = "SELECT cid, data, seal, attachment FROM record WHERE cid IN ({marks}) AND data IS NOT NULL"
SET_ATTACHMENT: Final = "UPDATE record SET attachment = ? WHERE cid = ? AND data IS NOT NULL"
HAS_MANY: Final = "SELECT cid FROM record WHERE cid IN ({marks}) AND data IS NOT NULL"
BETWEEN: Final = """
    SELECT cid FROM record WHERE cid >= ?1 AND cid < ?2 AND data IS NOT NULL
    UNION SELECT cid FROM rival WHERE cid >= ?1 AND cid < ?2 ORDER BY cid"""
COMPLETE: Final = "SELECT 1 FROM record JOIN log ON log.id = record.id WHERE record.cid = ? AND log.size >= ?"
HAS: Final = "SELECT 1 FROM record WHERE cid = ? AND data IS NOT NULL"
GET_RIVAL: Final = "SELECT data, seal, NULL FROM rival WHERE cid = ?"
GET_RIVALS: Final = "SELECT cid, data, seal, NULL FROM rival WHERE cid IN ({marks})"
HAS_RIVAL: Final = "SELECT 1 FROM rival WHERE cid = ?"
HAS_RIVALS: Final = "SELECT cid FROM rival WHERE cid IN ({marks})"
RIVALS: Final = "SELECT owner, seq, cid FROM rival WHERE ? IS NULL OR owner = ? ORDER BY owner, seq, cid"
ALL_RIVALS: Final = "SELECT cid, owner, seq, data, seal FROM rival ORDER BY cid"
INSERT_RIVAL: Final = """
    INSERT OR IGNORE INTO rival (cid, owner, seq, data, seal)
    SELECT ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM rival WHERE owner = ?) < ?"""
_ID: Final = "(SELECT id FROM record WHERE cid = ?)"
STATE: Final = """
    SELECT log.size, last.cid, last.time, log.peaks FROM record JOIN log ON log.id = record.id
    JOIN record AS last ON last.id = log.last WHERE record.cid = ?"""
LOGS: Final = """
    SELECT owner.cid, held.count, held.newest, log.id IS NOT NULL
    FROM (SELECT log, count(data) AS count, max(seq) AS newest FROM record WHERE log IS NOT NULL GROUP BY log) AS held
    JOIN record AS owner ON owner.id = held.log LEFT JOIN log ON log.id = held.log ORDER BY owner.cid"""
RANGE: Final = f"""
    SELECT cid, data, seal, attachment FROM record
    WHERE log = {_ID} AND seq >= ? AND seq < ? AND data IS NOT NULL ORDER BY seq"""
AT: Final = f"SELECT cid FROM record WHERE log = {_ID} AND seq = ?"
NEWEST: Final = f"SELECT seq FROM record WHERE log = {_ID} AND data IS NOT NULL ORDER BY seq DESC LIMIT 1"
IDS: Final = f"SELECT cid FROM record WHERE log = {_ID} AND seq >= ? AND seq < ? ORDER BY seq"
LOG_ROWS: Final = f"""
    SELECT record.cid, record.seq, name.text, record.time FROM record LEFT JOIN name ON name.id = record.kind
    WHERE record.log = {_ID} AND record.seq < ? ORDER BY record.seq"""
CITATIONS: Final = f"""
    SELECT child.cid, name.text, parent.cid FROM record AS parent JOIN edge ON edge.parent = parent.id
    JOIN record AS child ON child.id = edge.child JOIN name ON name.id = edge.class
    WHERE parent.log = {_ID} AND parent.seq < ? AND (edge.class IN ({{classes}}) OR child.kind IN ({{kinds}}))"""
STRAY_CITATIONS: Final = """
    SELECT child.cid, name.text, parent.cid FROM edge JOIN record AS parent ON parent.id = edge.parent
    JOIN record AS child ON child.id = edge.child JOIN name ON name.id = edge.class
    WHERE parent.log IS NULL AND (edge.class IN ({classes}) OR child.kind IN ({kinds}))"""
NAME_ID: Final = "INSERT OR IGNORE INTO record (cid) VALUES (?)"
NOTE_PRUNED: Final = """
    INSERT OR IGNORE INTO pruned (prune, record, pending)
    SELECT (SELECT id FROM record WHERE cid = ?), id, 1 FROM record WHERE cid = ?"""
PENDING: Final = "SELECT prune, record FROM pruned WHERE pending = 1 LIMIT ?"
DROP_RECORD: Final = """
    UPDATE record SET data = NULL, seal = NULL, attachment = NULL, kind = NULL, time = NULL WHERE id = ?"""
DROP_EDGES: Final = "DELETE FROM edge WHERE child = ?"
DROPPED: Final = "UPDATE pruned SET pending = 0 WHERE prune = ? AND record = ?"
PRUNED_BY: Final = """
    SELECT record.cid, prune.cid FROM record JOIN pruned ON pruned.record = record.id
    JOIN record AS prune ON prune.id = pruned.prune
    WHERE record.cid IN ({marks}) AND record.data IS NULL ORDER BY prune.seq"""
PRUNED_IDS: Final = """
    SELECT record.cid FROM record AS prune JOIN pruned ON pruned.prune = prune.id
    JOIN record ON record.id = pruned.record WHERE prune.cid = ? ORDER BY record.cid"""
INSERT_STATE: Final = "INSERT INTO log (id, size, last, peaks) VALUES (?, ?, ?, ?)"
LEAVES: Final = f"SELECT cid FROM record WHERE log = {_ID} AND seq < ? ORDER BY seq"
# The queue of a recursive query is first in, first out, so this walks breadth first.
ANCESTORS: Final = """
    WITH RECURSIVE ancestor (id) AS (
        SELECT parent FROM edge WHERE child = (SELECT id FROM record WHERE cid = ?) {classes}
        UNION
        SELECT edge.parent FROM ancestor JOIN edge ON edge.child = ancestor.id {classes}
        LIMIT ?
    )
    SELECT group_concat(id) FROM ancestor"""
IDS_OF_ROWS: Final = "SELECT cid FROM json_each(?) AS wanted CROSS JOIN record ON record.id = wanted.value"
CHILDREN: Final = """
    SELECT DISTINCT record.cid FROM edge JOIN record ON record.id = edge.child
    WHERE edge.parent = (SELECT id FROM record WHERE cid = ?) {classes} ORDER BY record.cid"""
PARENTS: Final = """
    SELECT child.cid, name.text, parent.cid FROM record AS child JOIN edge ON edge.child = child.id
    JOIN record AS parent ON parent.id = edge.parent JOIN name ON name.id = edge.class
    WHERE child.cid IN ({marks}) {classes}"""
CITING: Final = """
    SELECT child.cid, name.text, parent.cid FROM record AS parent JOIN edge ON edge.parent = parent.id
    JOIN record AS child ON child.id = edge.child JOIN name ON name.id = edge.class
    WHERE parent.cid IN ({marks}) {classes} {kinds}"""
DESCENDANTS: Final = """
    WITH RECURSIVE descendant (id) AS (
        SELECT child FROM edge WHERE parent = (SELECT id FROM record WHERE cid = ?) {classes}
        UNION
        SELECT edge.child FROM descendant JOIN edge ON edge.parent = descendant.id {classes}
        LIMIT ?
    )
    SELECT cid FROM descendant CROSS JOIN record ON record.id = descendant.id"""
SHARED: Final = """
    WITH RECURSIVE one (id) AS (
        SELECT parent FROM edge WHERE child = (SELECT id FROM record WHERE cid = ?) {classes}
        UNION
        SELECT edge.parent FROM one JOIN edge ON edge.child = one.id {classes}
    ), other (id) AS (
        SELECT parent FROM edge WHERE child = (SELECT id FROM record WHERE cid = ?) {classes}
        UNION
        SELECT edge.parent FROM other JOIN edge ON edge.child = other.id {classes}
    )
    SELECT record.cid FROM (SELECT id FROM one INTERSECT SELECT id FROM other) AS both
        CROSS JOIN record ON record.id = both.id"""
BY_KIND: Final = """
    SELECT cid FROM record WHERE kind = (SELECT id FROM name WHERE text = ?) {owner} AND data IS NOT NULL
    ORDER BY time DESC, seq DESC, cid LIMIT ?"""
MENTIONING: Final = """
    SELECT cid FROM record WHERE kind IN (SELECT id FROM name WHERE text IN ({marks})) AND data IS NOT NULL
    AND (instr(data, ?) > 0 OR instr(attachment, ?) > 0) ORDER BY cid LIMIT ?"""
OF_OWNER: Final = f"AND log = {_ID}"

ALL_RECORDS: Final = """
    SELECT record.id, record.cid, record.data, record.seal, record.attachment, owner.cid, record.seq, name.text,
        record.time FROM record
    LEFT JOIN record AS owner ON owner.id = record.log LEFT JOIN name ON name.id = record.kind
    WHERE record.data IS NOT NULL ORDER BY record.id"""
EDGES_OF: Final = """
    SELECT name.text, record.cid FROM edge JOIN name ON name.id = edge.class JOIN record ON record.id = edge.parent
    WHERE edge.child = ?"""
STRAY_EDGES: Final = """
    SELECT DISTINCT record.cid FROM edge JOIN record ON record.id = edge.child WHERE record.data IS NULL"""
ALL_STATES: Final = """
    SELECT owner.cid, log.size, last.cid, last.time, log.peaks FROM log
    JOIN record AS owner ON owner.id = log.id JOIN record AS last ON last.id = log.last"""
SET_META: Final = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
