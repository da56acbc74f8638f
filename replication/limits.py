"""Every bound and wait of replication, with its unit last in the name and its reason beside it."""

KIB = 1024
MIB = 1024 * KIB

WINDOW_SECONDS = 0.05  # from a room's first change to the cut: p99 lag 65 ms at 5,000 rows/s; 20 ms costs 4 µs more CPU a row
BATCH_ROWS_MAX = 2_000  # the apply cost per row stops falling between 500 and 1,000 rows
BATCH_BYTES_MAX = 256 * KIB  # what a batch holds in memory, and how long its transaction keeps other writers of the replica out
BACKLOG_ENTRIES_MIN = 4_000  # of one room: beyond this SQLite applies them from the room's file; below, Python folds them
BATCH_RESYNCS_MAX = 20  # at about 1 ms each: an initial sync of 10,000 rooms never holds back a live room for longer than that
BATCH_IDLE_MAX = 200  # rooms looked at without finding a row, 0.1 to 1 ms each: the rows of others do not wait for more
BEHIND_SECONDS = 1.0  # the oldest change is older: freshness is lost anyway, so catch up
BEHIND_TIMES = 8  # then a batch may be so many times as large: under load a hop to a thread costs a round of the loop, 10-50 ms
SLICE_SECONDS = 0.001  # of collecting before calls run: one checkpoint a room would cost a round of a busy loop each
SLICE_SHARE = 0.25  # of the last round of the loop, if that is more: under full load collecting gets a fifth of it
SLICE_SECONDS_MAX = 0.010  # but no call waits longer for it
SLICE_ROOMS_MAX = 32  # the same where the clock stands still, under test
CANDIDATES_MAX = 1_000  # of the start, with the collector at once: it looks through all that wait at each cut, 0.3 µs each
CANDIDATE_SECONDS_MAX = 1.0  # how long a candidate of the start lets rooms with news go first

WAL_BYTES_MAX = 4 * MIB  # beyond this the replica's WAL is checkpointed, beside readers
WAL_BYTES_TRUNCATED = 64 * MIB  # a long reader let it grow to this: take the space back as soon as nobody reads

RETRY_SECONDS_FIRST = 0.05  # of a replica in trouble; doubled at each failure, with full jitter
RETRY_SECONDS_MAX = 5.0  # an outage of hours is over at most 5 s after its cause
REFUSED_SECONDS = 5.0  # a file that is not ours: somebody has to move it, so look again now and then
ROOM_RETRY_SECONDS_FIRST = 0.05  # of one room that cannot be read
ROOM_RETRY_SECONDS_MAX = 30.0
PARKED_SECONDS = 60.0  # of a room whose rows the replica cannot take: only a change of the room or of the replica helps
RESYNC_SECONDS_MIN = 1.0  # between two resyncs of the same room, so that a repeated reason cannot become a loop

JOB_SECONDS_MAX = (
    4.0  # without a sign of life a job on the replica's file hangs: a file system went away. With the next: 5 s at most
)
JOB_LOOK_SECONDS = 1.0  # between two looks for signs of life, and at a job that was left alone
JOB_STEPS = (
    1_000_000  # of SQLite's machine to one sign of life: 0.1 to 0.5 s of work; each waits for Python's lock, 5 ms under load
)

AUDIT_SECONDS = 1.0  # between two rooms of the auditor: 100,000 rooms take a day, and what it finds is rare
AUDIT_SECONDS_MAX = 60.0  # the same where a whole pass found no room changed: a process at rest shall rest
AUDIT_SHARE = 0.01  # of the time is the most it takes: on a slow disk it goes slower
AUDIT_BYTES_MAX = 16 * MIB  # of a room whose rows are counted, 5 to 20 ms; of a larger one the position alone is looked at
AUDIT_AGAIN_SECONDS = 3_600.0  # before it has the same room copied again: what copying does not heal must not become a loop

RECOPY_SECONDS = 30.0  # default deadline of a resync that was asked for; a room of 1 GB takes about 10

REPLICATED_SECONDS = 5.0  # default deadline of replicated()
DRAIN_SECONDS_MAX = 5.0  # what a stop waits for the replica; the rest stays in the outboxes

MARKS_CACHED_MAX = 20_000  # positions of rooms in memory, about 300 bytes each; the rest is read again when needed
LAG_SAMPLES = 1_024  # rooms-in-batch behind the lag percentiles
DAMAGED_FILES_MAX = 3  # damaged replicas kept aside, and as many of other rooms; the last one is replaced
TOKENS_KEPT = 8  # starts of the runtime; an own replica restored from before that is made anew instead of brought up to date

READ_SECONDS_MAX = 2.0  # of one read, all its statements: what it sees stays in the WAL meanwhile, 4 MiB a second under load
READ_SCHEMAS_MAX = 16  # connections of one reader, one for each schema or choice of classes lately read: 2 descriptors, 0.2 MB
EXPRESSION_DEPTH_MAX = 250  # of a statement of a read: walked on the stack of a thread; rooms, which have 1,000, take over
COMPOUND_MAX = 100  # SELECTs in one UNION: a view across rooms has one for each variant of its table
PROGRAM_STEPS_MAX = 25_000  # of one prepared statement; a SELECT of 50 columns has 100, and 25,000 take 0.6 MB
