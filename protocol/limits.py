"""Every limit on what comes from outside, in one place, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds that a manifest may lower and never raise. Sizes are bytes, times are milliseconds."""

    record_bytes: int = 64 * 1024
    """One record. Larger payloads live in blobs; a reader can hold a full walk batch in memory."""
    seal_bytes: int = 64 * 1024
    """One seal. Room for several post-quantum signatures beside the classical ones."""
    attachment_bytes: int = 256 * 1024
    """What comes beside a record: its fields with their salts and paths; a chunk holds it with record and seal."""
    nesting: int = 16
    """Containers in containers, the outermost being level 1. Deep nesting is only ever an attack on recursion."""
    integer: int = 2**53 - 1
    """Absolute value of any integer: what every language reads alike."""
    cid_bytes: int = 256
    """One id given as text. The longest accepted one, an identity CID over two digests, stays below 200."""
    fan_in: int = 256
    """Edges of one record, all classes together. Bounds the work that one id can cause."""
    walk_roots: int = 1_000
    """Roots of one walk request."""
    walk_edges: int = 1_000_000
    """Edges one walk may traverse, and records it may hold."""
    composed_edges: int = 2_000_000
    """Edges walked again to sum verifications up: whoever publishes verifications chooses how many and how deep."""
    report_steps: int = 100_000
    """Steps of the paths to all findings of a report together: a chain of bad records is long for each of them."""
    chunk_bytes: int = 1024 * 1024
    """One reply chunk on the wire; fits a Yamux receive window."""
    reply_bytes: int = 256 * 1024 * 1024
    """One whole reply."""
    request_bytes: int = 1024 * 1024
    """One request frame: a thousand roots and a long `have` list fit."""
    seal_witnesses: int = 8
    """Other peers asked for the seal of a record before it is found invalid for the one that came."""
    seal_rounds: int = 8
    """Walks of one audit: one more each time that a peer turns out to have spoiled seals."""
    connections: int = 300
    """Open connections of one node, at about 65 KiB each."""
    streams_per_connection: int = 128
    """Own streams on one connection; the muxer blocks for ever at 256."""
    dials: int = 16
    """Dials under way at a time: whoever gives out addresses must not have this node knock at many doors at once."""
    dial_timeout_ms: int = 5_000
    """One dial with its handshake: a host on another continent takes a second, one that is not there takes for ever."""
    lookup_dials: int = 32
    """Peers dialled for one question to the DHT: it takes a few rounds of ten."""
    found_addresses: int = 64
    """Addresses taken from one answer about where somebody is: more are no help, and each may lead nowhere."""
    strangers_dialled: int = 128
    """Peers that nobody vouched for which one audit dials: four at a time, for at most 5 s each."""
    peers_known: int = 1_000
    """Peers of which anything is remembered, at about 500 bytes each; who was useful stays longest."""
    peer_addresses: int = 8
    """Addresses kept of one peer, and peers kept of one agent: it moves now and then, and has few interfaces."""
    dht_message_bytes: int = 128 * 1024
    """One message of the DHT: forty peers with their addresses and signatures take 40 KiB."""
    dht_streams: int = 12
    """Questions of the DHT that are answered at a time; further ones are turned away."""
    dht_streams_per_peer: int = 4
    """… and of one peer, so that nobody takes them all alone."""
    provider_records: int = 10_000
    """Provider records held for others, at about 1 KiB each."""
    provider_records_per_peer: int = 1_000
    """… and for one of them: as many agents as a node is likely to have."""
    providers_per_key: int = 20
    """Providers held of one agent or federation, as Kademlia has it."""
    announcement_bytes: int = 64 * 1024
    """One announcement: a new head with its proof, never a record's payload; every node forwards it."""
    announcements_per_second: int = 300
    """Announcements of one neighbour that are looked at, at a third of a millisecond each; twice as many at once."""
    announcement_offences: int = 16
    """Wrong announcements of one neighbour in a minute, after which it is cut off: honest ones forward none."""
    key_events: int = 64
    """Registrations and revocations of one log that strangers are told with a head: an agent has few in its life."""
    announced_checkpoint_bytes: int = 2048
    """One announced checkpoint: three lines and one signature, without the witnesses' lines, which few need."""
    heads_bytes: int = 48 * 1024 * 1024
    """What a node keeps of heads of logs of which it holds nothing: about 12,000 of them, at 2 KiB and their keys."""
    heads_unchecked: int = 8
    """Heads of one log that wait for a proof that they extend each other: of an honest one, nearly always one."""
    heads_new_logs_per_minute: int = 240
    """Logs never heard of that one neighbour may bring, since each costs some milliseconds; twice as many at once."""
    head_every_ms: int = 500
    """How often a log may announce a newer head; four at once. A node announces each of its own half as often."""
    head_older_ms: int = 5_000
    """How often an older head of a log is looked at, which anybody can replay; four at once."""
    head_repeat_ms: int = 120_000
    """How often a head that is known is forwarded again, for those who came later."""
    head_again_ms: int = 300_000
    """How often a node announces what has not changed: a head of its own, or a fork that it knows of."""
    head_ask_ms: int = 5_000
    """How often a node asks one of its peers, in turn, what it has heard: announcements can be lost."""
    heads_recalled: int = 2_000
    """Announcements in one answer to that; who lacks more asks again."""
    heads_reply_bytes: int = 16 * 1024 * 1024
    """One such answer: 2,000 announcements have 4 MiB, and room for larger ones."""
    requests_per_peer: int = 16
    """Requests of one peer that are answered at the same time."""
    block_wants: int = 1_024
    """Blocks that one message of an IPFS client may want."""
    receive_window_bytes: int = 1024 * 1024
    """Unread bytes held for one stream; the muxer does not enforce its own window."""
    progress_timeout_ms: int = 10_000
    """A request without any progress for this long has failed."""
    record_ms: int = 100
    """What each useful record of a reply adds to the time that it may take: ten a second is slower than any line."""
    loose_bytes: int = 32 * 1024 * 1024
    """Records of one walk's reply that nothing leads to: newest records of thousands of logs, and revocations."""
    write_stall_ms: int = 30_000
    """A peer that takes nothing for this long is cut off."""
    replicated_logs: int = 8_000
    """Logs of one comparison or subscription, and followed by one node: 110 bytes each, so a request holds them."""
    replica_window: int = 1_000
    """Records of a log asked for at a time, of one provider: about half a megabyte, a tenth of a second of checking."""
    replica_ahead: int = 8
    """So many such windows of one log are on their way or wait for those before them, at about 1 MiB each."""
    replica_buffer_bytes: int = 8 * 1024 * 1024
    """What waits of one log: its windows, unless records are large; twice that for the window that is needed next."""
    replica_busy_logs: int = 16
    """Logs that are caught up with at the same time; the others have their turn when one of them stands still."""
    replica_providers: int = 8
    """Peers of whom one log is asked."""
    replica_patience_ms: int = 15_000
    """A window that takes longer is asked of another provider, if there is one."""
    replica_back_off_ms: int = 1_000
    """How long a provider that failed is left alone, doubled each time it fails again …"""
    replica_back_off_most_ms: int = 60_000
    """… up to this."""
    replica_strikes: int = 3
    """Failures in a row after which whoever is not going to wait gives a provider up."""
    replica_unobtainable: int = 10_000
    """Cited records of other logs that are remembered as not to be had, so that nobody is asked again and again."""
    subscriptions: int = 256
    """Subscriptions served at the same time: each holds a stream, and reads every log that it is about."""
    delegation_hops: int = 32
    """Length of a delegation chain: nobody reviews a longer one."""
    delegations_open: int = 1_000
    """Delegations that a node has taken on and not ended, at a kilobyte each."""
    delegations_per_delegator: int = 64
    """… and of those, made by one agent, so that nobody takes all of the room."""
    works_per_agent: int = 8
    """Works of one agent at a time, each a thread, where `on_delegation` says nothing else."""
    works_per_delegator: int = 4
    """… and of those, for one delegator."""
    delegation_checks: int = 8
    """Delegations that are fetched and verified at a time, before it is known whose they are."""
    delegation_checks_per_peer: int = 2
    """… and of those, for one peer, which may be anybody."""
    delegations_out: int = 10_000
    """Delegations that a node has handed out and that are not ended, at a kilobyte each."""
    delegation_sends: int = 32
    """Delegations that are being sent or followed at a time."""
    delegations_followed: int = 8
    """… and of those, to one peer: half of the requests that it answers at a time."""
    delegation_reason: int = 200
    """Characters of the reason that one side gives the other: one line of a terminal, or two."""
    delegation_signature_bytes: int = 4_096
    """The signature that vouches for a peer: the largest scheme takes 3,309 bytes."""
    delegation_first_retry_ms: int = 1_000
    """How long after the first failure a delegation, or its answer, is sent again; twice as long each time."""
    delegation_retry_ms: int = 10 * 60 * 1000
    """… and at most: a delegate that comes back once a day for an hour is met."""
    delegation_tell_ms: int = 7 * 24 * 60 * 60 * 1000
    """How long after a delegation expired its delegate goes on trying to tell what became of it."""
    policy_chain: int = 256
    """Policies looked at between a policy and the grant that it derives from: bounds the work of one record."""
    vocabulary: int = 256
    """Names of a confidential policy's vocabulary: a proof takes 160 bytes for each, and a third of a millisecond."""
    hidden_limits: int = 16
    """Limits of a confidential policy: a proof takes 8 KiB for each; with all names it fits an attachment."""
    attestation_bytes: int = 17 * 1024
    """One attestation of a key: a document of 16 KiB, its signature and their heads."""
    attestation_chain: int = 8
    """Certificates above the one that signed an attestation; the hardware that is known has four."""
    attestation_roots: int = 8
    """Root certificates that a manifest trusts: a partition or two, each before and after a change of its root."""
    attestation_age_ms: int = 60 * 60 * 1000
    """How long before a record an attestation may have been made: time to carry it over, none to keep it for later."""
    clock_skew_ms: int = 5 * 60 * 1000
    """How far ahead of the reader's clock a record's claimed time may lie."""
    bundle_bytes: int = 4 * 1024 * 1024 * 1024
    """One bundle file."""
    bundle_header_bytes: int = 1024
    """A CARv1 header with one root is 59 bytes; anything much larger is not ours."""
    bundle_root_bytes: int = 128 * 1024 * 1024
    """A bundle's root block: 83 bytes for each of a million records, and room for their proofs."""
    checkpoint_bytes: int = 128 * 1024
    """One checkpoint: three lines of text, and 16 post-quantum signatures of the largest kind."""
    checkpoints: int = 1_000
    """Checkpoints in one bundle or reply: one for each log, of as many as a walk may have roots."""
    note_signatures: int = 64
    """Signature lines of one note: as many witnesses as a quorum may be taken from."""
    checkpoint_extensions: int = 16
    """Extension lines of one checkpoint: nobody is to use them, and few logs do."""
    witness_request_bytes: int = 192 * 1024
    """One request to a witness: a checkpoint, and a proof of 63 hashes in base64."""
    witness_reply_bytes: int = 64 * 1024
    """One answer of a witness: a few signature lines."""
    witness_connections: int = 256
    """Open connections of one witness; further ones are closed."""
    witness_connections_per_address: int = 32
    """… and from one address, so that nobody takes them all alone."""
    witness_request_ms: int = 10_000
    """From the first byte of a request to a witness until its answer is taken, however busy the connection is."""
    witness_idle_ms: int = 60_000
    """How long a witness keeps a connection on which nothing is asked."""
    local_connections: int = 256
    """Open connections of a node's local interface: more processes than one host runs agents."""
    submission_bytes: int = 1_000_000
    """One submission of an engine's records: it fits a request, on the network as over the local interface."""
    submission_answer_bytes: int = 1024 * 1024
    """One answer to a submission: two lists of a thousand ids at most, at 70 bytes each in JSON."""
    submissions_waiting: int = 4
    """Submissions that are judged or wait to be, which is done one by one; further ones are turned away."""
    submission_refusals: int = 30
    """Submissions of one peer in a minute that were refused, after which no more of its are looked at for a while."""
    submitters: int = 4_096
    """Peers and engines of which it is remembered how much they handed in lately, at about 200 bytes each."""
    shared_ids: int = 64
    """Ids in one entry of a shared log: a batch; whoever has more of them anchors the newest record of its log."""
    local_streams: int = 32
    """Streams that are open on the local interface at a time: each reads the store when its logs grow."""
    stream_logs: int = 16
    """Logs of one stream over the local interface: every event carries a cursor of 100 bytes for each."""
    local_request_ms: int = 60_000
    """From the first byte of a local request until its answer is taken: it may wait for the disk, and for witnesses."""
    remembered_answers: int = 10_000
    """Answers kept for requests that may come again, at about 1 KiB each."""
    anchoring_check_ms: int = 5_000
    """How often a node looks whether one of its logs is to be anchored."""
    witness_logs: int = 100_000
    """Logs that an open witness learns by itself, at about 500 bytes each."""
    witness_keys: int = 64
    """Keys of one log that an open witness learns by itself: the log's agent has as many in its life, or adds none."""
    log_proof_bytes: int = 256 * 1024
    """One proof file: a checkpoint, 64 hashes, and a genesis in base64."""
    manifest_text: int = 64 * 1024
    """Characters of a manifest's TOML; the record that it compiles to has no more bytes."""
    anchor_file_bytes: int = 1024 * 1024
    """One file of a ceremony or a request to sign: three records of the largest size fit several times."""
    anchors: int = 64
    """Members of a manifest's anchor set: each costs a pairing to check."""
    revocations: int = 256
    """Revoked keys of one log: every walk that meets the log is handed all of them."""
    releases: int = 10_000
    """Releases of one log that are looked through for the first of an alias: more than a product has in its life."""
    heads_per_log: int = 64
    """Sources whose heads of one log are remembered: more witnesses and peers than any quorum asks for."""
    rivals_per_log: int = 64
    """Records kept of one log as proof of equivocation: two convict, the rest is an attack on the disk."""
    ceremony_bytes: int = 16 * 1024
    """One message of a key ceremony: the shares for 64 members take 4 KiB, and a complaint quotes them."""
    access_rules: int = 4_096
    """Access rules of one log that are looked at; of a log with more of them nobody but its author gets anything."""
    access_subjects: int = 16_384
    """Records of which a node remembers what decides on their reading, so that a refusal costs the same again."""
    access_stale_ms: int = 1_000
    """How long a node goes by access rules as it read them, where another process writes its store."""
    bound_peers: int = 1_024
    """Peers of which a node remembers to which agents they are bound, at about 1 KiB each."""
    bound_agents: int = 16
    """Agents to which one peer is bound: those of one node."""
    presented_records: int = 256
    """Records with which a peer presents its registrations: geneses, keys and manifest versions of a long life."""
    withheld_spans: int = 10_000
    """Spans of positions that a reply names as withheld; a server joins more of them into one."""
    present_again_ms: int = 60_000
    """How long a node relies on another one's remembering to which agents it is bound."""
    proof_hashes: int = 64
    """Hashes of one Merkle proof: a tree of 2^53 leaves needs fewer."""

    package_files: int = 100_000
    """Files of one package: its listing is held whole, at about 200 bytes each."""
    package_path: int = 1_024
    """Bytes of one path in a package: what common file systems allow below a folder of the user's."""
    package_levels: int = 64
    """Folders in folders of a package: so many descriptors are open while it is hashed."""
    listing_bytes: int = 16 * 1024 * 1024
    """One listing: as many files as a package may have, with long names."""
    kept_bytes: int = 256 * 1024 * 1024
    """One file of a package that is kept in the blob store, which takes it whole."""
    snapshot_bytes: int = 16 * 1024 * 1024
    """One file of an environment's snapshot."""
    snapshot_folder_bytes: int = 1024 * 1024 * 1024
    """All files of a folder of snapshots, which are held together until they are recorded."""
    snapshot_nodes: int = 100_000
    """Snapshots of one folder, recorded in one transaction."""
    snapshot_parents: int = 128
    """Parents of one snapshot: so many edges fit a record whatever else it cites."""
    transcript_bytes: int = 64 * 1024 * 1024
    """One transcript file. It is held whole, and imported in one transaction."""
    transcript_messages: int = 50_000
    """Messages of one transcript file: each makes up to four records, at about 3 KiB until they are stored."""
    transcript_values: int = 2_000_000
    """JSON values of one transcript file, at about 200 bytes each while it is read."""
    transcript_nesting: int = 64
    """Containers in containers of a transcript: tools' schemas are the deepest that people keep in one."""
    transcript_content_bytes: int = 8 * 1024 * 1024
    """What one message says, or one tool call's arguments: more than any model reads at once."""
    transcript_tools: int = 100
    """Names of tools in one transcript file: together they fit the capabilities of one policy record."""
    transcript_name: int = 128
    """Characters of a tool's name, and of an id that is kept as it is: twice what chat interfaces allow."""
    transcript_prompts: int = 16
    """System prompts of one trajectory: every later turn cites them all as its policies."""
    transcript_line_bytes: int = 16 * 1024 * 1024
    """One line of a stream of transcripts: one message, or a whole conversation. No more is held of the stream."""
    transcript_talks: int = 1_000
    """Conversations of one stream that are under way at a time; whichever was silent longest ends for a new one."""
    span_name: int = 256
    """Characters of whatever a span names: a model, a tool, an agent, a call; a record's names are as long."""
    span_tool_calls: int = 256
    """Tool calls of one answer that are joined to the spans of the tools."""
    spans_open: int = 10_000
    """Spans under way that are remembered of one process, at about 1 KiB each; the oldest are forgotten."""
    spans_ended: int = 10_000
    """Ended spans of which it is remembered which record they became, at about 300 bytes each, for links to them."""
    span_evidence: int = 64
    """Earlier steps that one step is shown to rest on: what came since the last answer, and linked spans."""
    span_line_bytes: int = 64 * 1024 * 1024
    """One line of a file of traces: the collector writes what it received at once into one."""
    span_line_values: int = 8_000_000
    """Commas and brackets of such a line: the smallest values take three bytes of it, and sixty of memory."""
    span_file_bytes: int = 256 * 1024 * 1024
    """One file of traces: the collector starts another after 100 MB. Its spans are held until they are in order."""
    span_file_spans: int = 200_000
    """Spans of one file, at about 1 KiB each beside what they say."""
    import_problems: int = 20
    """Problems of one file that are told one by one; nobody mends more at a time."""

    content_nesting: int = 64
    """Containers in containers of what a governed step consumed or produced, which is digested as JSON."""
    step_inputs: int = 256
    """Named inputs of one governed step: at 40 bytes and a name each they fit a record."""
    step_token_bytes: int = 4_096
    """A resource commitment token: several signatures long, and a record still holds it."""
    step_parts: int = 64
    """Parts of one decomposed step: they become durable in one transaction."""
    step_part_nesting: int = 4
    """Parts of parts of a step."""
    reason_characters: int = 2_000
    """What a rejection says to a person; rules and plug-ins may write more, which is cut."""
    gate_policy_bytes: int = 256 * 1024
    """One policy file of a gate, which is kept as a blob."""
    unrecorded_steps: int = 1_000
    """Rejections that wait for a log that cannot be written, in memory and a file, at about 1 KiB each."""

    plaintext_bytes: int = 1024 * 1024 * 1024
    """One plaintext in a vault, which is written and read in chunks: an hour of video that a model saw."""
    a2a_addresses: int = 8
    """Addresses that an A2A message names, all of its sender's node: it has few interfaces, and each may be dialled."""
    a2a_address_characters: int = 512
    """One of them: a name of the DNS has 253, a peer's id 60."""
    a2a_fetch_ms: int = 30_000
    """Until what an A2A message names is had and verified; whoever sends it chooses how large and how slow that is."""
    a2a_checks: int = 4
    """Delegations of A2A messages verified at a time, each in a thread: some are left for what others' work records."""
    a2a_checks_waiting: int = 32
    """Delegations of A2A messages that are verified or wait for it; further messages are turned away at once."""
    mcp_message_bytes: int = 4 * 1024 * 1024
    """One message between an MCP client and its server: a picture of some megapixels in base64 fits."""
    mcp_pending: int = 256
    """Requests of one MCP client that wait for their answers; a model calls a few tools at a time."""
    mcp_judging: int = 8
    """Tool calls of one MCP client that are judged at a time, and as many results recorded: each holds a message."""
    mcp_call_ms: int = 600_000
    """How long a tool may take, unless its caller is told otherwise: builds and crawls take minutes."""
    mcp_tools: int = 1_024
    """Tools of one MCP server whose definitions are remembered, at up to 64 KiB each."""
    mcp_answer_characters: int = 16_000
    """Characters of one answer about lineage: a model reads every one of them."""
    mcp_answer_records: int = 25
    """Records that one answer about lineage lists."""


DEFAULT = Limits()
