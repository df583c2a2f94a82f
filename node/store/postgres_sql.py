"""The SQL of the PostgreSQL store. Values are always parameters; sets of ids are arrays."""

from __future__ import annotations

from typing import Final

# --- writing ---------------------------------------------------------------------------------------------------------

# Records come sorted by id, so that two nodes which get the same ones wait for each other and never in a circle.
INSERT: Final = """
    WITH added AS (
        INSERT INTO record (cid, owner, seq, kind, time, data, seal, attachment)
        SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::bigint[], %b::text[], %b::bigint[], %b::bytea[],
            %b::bytea[], %b::bytea[])
        ON CONFLICT (cid) DO UPDATE SET kind = excluded.kind, time = excluded.time, data = excluded.data,
            seal = excluded.seal, attachment = excluded.attachment
        WHERE record.data IS NULL
        RETURNING cid
    )
    INSERT INTO edge (child, class, parent)
    SELECT child, class, parent FROM unnest(%b::bytea[], %b::text[], %b::bytea[]) AS cited (child, class, parent)
    WHERE child IN (SELECT cid FROM added)"""
COPY_RECORDS: Final = """
    COPY record (cid, owner, seq, kind, time, data, seal, attachment) FROM STDIN (FORMAT BINARY)"""
RECORD_TYPES: Final = ("bytea", "bytea", "int8", "text", "int8", "bytea", "bytea", "bytea")
COPY_EDGES: Final = "COPY edge (child, class, parent) FROM STDIN (FORMAT BINARY)"
EDGE_TYPES: Final = ("bytea", "text", "bytea")
UPSERT_LOG: Final = """
    INSERT INTO log (owner, size, last, peaks)
    SELECT * FROM unnest(%b::bytea[], %b::bigint[], %b::bytea[], %b::bytea[])
    ON CONFLICT (owner) DO UPDATE SET size = excluded.size, last = excluded.last, peaks = excluded.peaks
    WHERE excluded.size > log.size"""
TOLD: Final = "UPDATE tslg SET changes = changes + 1"
CHANGES: Final = "SELECT changes FROM tslg"
PLACES: Final = "SELECT cid, owner, seq, time FROM record WHERE cid = ANY(%b::bytea[])"
RIVAL_OF: Final = "SELECT cid FROM record WHERE owner = %b AND seq = %b::bigint AND cid <> %b"
SET_ATTACHMENT: Final = "UPDATE record SET attachment = %b WHERE cid = %b AND data IS NOT NULL"
SET_META: Final = "INSERT INTO meta (key, value) VALUES (%s, %b) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
KEEP_META: Final = "INSERT INTO meta (key, value) VALUES (%s, %b) ON CONFLICT DO NOTHING"
SET_VERIFIED: Final = """
    INSERT INTO verified (cid, edges) VALUES (%b, %s) ON CONFLICT (cid) DO UPDATE SET edges = excluded.edges"""
DROP_HEADS: Final = "DELETE FROM head WHERE owner = %b"
INSERT_HEAD: Final = "INSERT INTO head (owner, size, root, record, source, seen_ms) VALUES (%b, %s, %b, %b, %b, %s)"
INSERT_RIVAL: Final = """
    INSERT INTO rival (cid, owner, seq, data, seal)
    SELECT %b::bytea, %b::bytea, %s::bigint, %b::bytea, %b::bytea
    WHERE (SELECT count(*) FROM rival WHERE owner = %b) < %s
    ON CONFLICT DO NOTHING"""
NOTE_PRUNED: Final = """
    INSERT INTO pruned (prune, record, pending)
    SELECT %b, record, true FROM unnest(%b::bytea[]) AS record ON CONFLICT DO NOTHING"""
PENDING: Final = "SELECT prune, record FROM pruned WHERE pending ORDER BY record, prune LIMIT %s FOR UPDATE"
DROP_RECORDS: Final = """
    UPDATE record SET data = NULL, seal = NULL, attachment = NULL, kind = NULL, time = NULL
    WHERE cid = ANY(%b::bytea[])"""
DROP_EDGES: Final = "DELETE FROM edge WHERE child = ANY(%b::bytea[])"
DROPPED: Final = """
    UPDATE pruned SET pending = false FROM unnest(%b::bytea[], %b::bytea[]) AS done (prune, record)
    WHERE pruned.prune = done.prune AND pruned.record = done.record"""
PUT_BLOB: Final = "INSERT INTO blob (digest, data) VALUES (%b, %b) ON CONFLICT DO NOTHING"
DROP_BLOBS: Final = "DELETE FROM blob WHERE digest = ANY(%b::bytea[])"

# --- locks -----------------------------------------------------------------------------------------------------------

WAIT_FOR: Final = "SELECT pg_advisory_xact_lock(%s)"
TRY_ALONE: Final = "SELECT pg_try_advisory_lock(%s)"
TRY_SHARED: Final = "SELECT pg_try_advisory_lock_shared(%s)"
HOLDER: Final = """
    SELECT coalesce(nullif(application_name, ''), 'another program'), pid
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid <> pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid::bigint = %s::bigint AND objid::bigint = %s::bigint
    ORDER BY pid LIMIT 1"""
WRITERS: Final = """
    SELECT DISTINCT regexp_replace(application_name, '^tslg ', '') FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid::bigint = %s::bigint AND objid::bigint = %s::bigint
    ORDER BY 1"""
END_OWN: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = %s AND backend_start = %s AND usename = current_user"""
MYSELF: Final = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"

# --- records ---------------------------------------------------------------------------------------------------------

GET_MANY: Final = """
    SELECT cid, data, seal, attachment FROM record WHERE cid = ANY(%(cids)b::bytea[]) AND data IS NOT NULL
    UNION ALL
    SELECT cid, data, seal, NULL FROM rival WHERE cid = ANY(%(cids)b::bytea[])
        AND NOT EXISTS (SELECT FROM record WHERE record.cid = rival.cid AND record.data IS NOT NULL)"""
HAS_MANY: Final = """
    SELECT cid FROM record WHERE cid = ANY(%(cids)b::bytea[]) AND data IS NOT NULL
    UNION SELECT cid FROM rival WHERE cid = ANY(%(cids)b::bytea[])"""
BETWEEN: Final = """
    SELECT cid FROM record WHERE cid >= %(low)b AND cid < %(high)b AND data IS NOT NULL
    UNION SELECT cid FROM rival WHERE cid >= %(low)b AND cid < %(high)b ORDER BY cid LIMIT %(most)s"""
BY_KIND: Final = """
    SELECT cid FROM record WHERE kind = %s AND data IS NOT NULL ORDER BY time DESC, seq DESC, cid LIMIT %s"""
MENTIONING: Final = """
    SELECT cid FROM record WHERE kind = ANY(%s::text[]) AND data IS NOT NULL
    AND (position(%b::bytea in data) > 0 OR position(%b::bytea in attachment) > 0) ORDER BY cid LIMIT %s"""
BY_KIND_OF: Final = """
    SELECT cid FROM record WHERE kind = %s AND owner = %b AND data IS NOT NULL
    ORDER BY time DESC, seq DESC, cid LIMIT %s"""

# --- logs ------------------------------------------------------------------------------------------------------------

STATE: Final = """
    SELECT log.size, log.last, record.time, log.peaks FROM log JOIN record ON record.cid = log.last
    WHERE log.owner = %b"""
LOGS: Final = """
    SELECT held.owner, held.count, held.newest, log.owner IS NOT NULL
    FROM (SELECT owner, count(data) AS count, max(seq) AS newest FROM record GROUP BY owner) AS held
    LEFT JOIN log ON log.owner = held.owner ORDER BY held.owner"""
RANGE: Final = """
    SELECT cid, data, seal, attachment FROM record
    WHERE owner = %b AND seq >= %s AND seq < %s AND data IS NOT NULL ORDER BY seq"""
AT: Final = "SELECT cid FROM record WHERE owner = %b AND seq = %s"
NEWEST: Final = "SELECT seq FROM record WHERE owner = %b AND data IS NOT NULL ORDER BY seq DESC LIMIT 1"
IDS: Final = "SELECT cid FROM record WHERE owner = %b AND seq >= %s AND seq < %s ORDER BY seq"
LEAVES: Final = "SELECT cid FROM record WHERE owner = %b AND seq < %s ORDER BY seq"
COMPLETE: Final = "SELECT FROM log WHERE owner = %b AND size >= %s"
LOG_ROWS: Final = "SELECT cid, seq, kind, time FROM record WHERE owner = %b AND seq < %s ORDER BY seq"

# --- the graph -------------------------------------------------------------------------------------------------------

# The rows of a recursive query come out level by level. The inner query is sorted and cannot be merged with the outer
# one, so within one level they come by the record that cites them, then by class and id.
ANCESTORS: Final = """
    WITH RECURSIVE ancestor (cid) AS (
        (SELECT parent FROM edge WHERE child = %(cid)b AND (%(classes)s::text[] IS NULL OR class = ANY(%(classes)s))
        ORDER BY class, parent)
        UNION
        SELECT cited.parent FROM ancestor CROSS JOIN LATERAL (
            SELECT parent FROM edge
            WHERE child = ancestor.cid AND (%(classes)s::text[] IS NULL OR class = ANY(%(classes)s))
            ORDER BY class, parent OFFSET 0
        ) AS cited
    )
    SELECT cid FROM ancestor LIMIT %(limit)s"""
CHILDREN: Final = """
    SELECT DISTINCT child FROM edge
    WHERE parent = %b AND (%s::text[] IS NULL OR class = ANY(%s)) ORDER BY child"""
PARENTS: Final = """
    SELECT child, class, parent FROM edge
    WHERE child = ANY(%b::bytea[]) AND (%s::text[] IS NULL OR class = ANY(%s)) ORDER BY child, class, parent"""
CITING: Final = """
    SELECT child, class, parent FROM edge
    WHERE parent = ANY(%b::bytea[]) AND (%s::text[] IS NULL OR class = ANY(%s)) AND (%s::text[] IS NULL
        OR EXISTS (SELECT FROM record WHERE record.cid = edge.child AND record.kind = ANY(%s)))
    ORDER BY parent, class, child"""
CITATIONS: Final = """
    SELECT edge.child, edge.class, edge.parent FROM record AS parent JOIN edge ON edge.parent = parent.cid
    JOIN record AS child ON child.cid = edge.child
    WHERE parent.owner = %b AND parent.seq < %s AND (edge.class = ANY(%s) OR child.kind = ANY(%s))"""
STRAY_CITATIONS: Final = """
    SELECT edge.child, edge.class, edge.parent FROM edge JOIN record AS child ON child.cid = edge.child
    WHERE (edge.class = ANY(%s) OR child.kind = ANY(%s))
        AND NOT EXISTS (SELECT FROM record WHERE record.cid = edge.parent)"""

# --- what is beside records ------------------------------------------------------------------------------------------

GET_META: Final = "SELECT value FROM meta WHERE key = %s"
HEADS: Final = "SELECT size, root, record, source, seen_ms FROM head WHERE owner = %b"
RIVALS: Final = """
    SELECT owner, seq, cid FROM rival WHERE %(owner)b::bytea IS NULL OR owner = %(owner)b ORDER BY owner, seq, cid"""
PRUNED_BY: Final = """
    SELECT pruned.record, pruned.prune FROM pruned
    LEFT JOIN record ON record.cid = pruned.record LEFT JOIN record AS prune ON prune.cid = pruned.prune
    WHERE pruned.record = ANY(%b::bytea[]) AND record.data IS NULL ORDER BY prune.seq NULLS FIRST"""
PRUNED_IDS: Final = "SELECT record FROM pruned WHERE prune = %b ORDER BY record"
VERIFIED: Final = "SELECT edges FROM verified WHERE cid = %b"
GET_BLOB: Final = "SELECT data FROM blob WHERE digest = %b"

# --- the check -------------------------------------------------------------------------------------------------------

ALL_RECORDS: Final = """
    SELECT cid, data, seal, attachment, owner, seq, kind, time,
        ARRAY(SELECT class FROM edge WHERE child = record.cid ORDER BY class, parent),
        ARRAY(SELECT parent FROM edge WHERE child = record.cid ORDER BY class, parent)
    FROM record WHERE data IS NOT NULL ORDER BY cid"""
STRAY_EDGES: Final = """
    SELECT DISTINCT child FROM edge
    WHERE NOT EXISTS (SELECT FROM record WHERE record.cid = edge.child AND record.data IS NOT NULL) ORDER BY child"""
ALL_RIVALS: Final = "SELECT cid, owner, seq, data FROM rival ORDER BY cid"
ALL_STATES: Final = """
    SELECT log.owner, log.size, log.last, record.time, log.peaks FROM log LEFT JOIN record ON record.cid = log.last
    ORDER BY log.owner"""
ALL_BLOBS: Final = "SELECT digest, data FROM blob ORDER BY digest"
