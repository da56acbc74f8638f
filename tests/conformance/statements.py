"""The 48 conformance statements, given / when / then, and what becomes of each in a room."""

from tests.conformance.verdict import Verdict

SOCKETS = "a room holds no sockets: a server holds them, and calls the room"
CONFIRMED = "there are no unconfirmed writes: whatever a reply may have seen is durable before it leaves"

STATEMENTS = {
    1: Verdict("two waiters queue for a lock: when it drops only the first proceeds, a cancelled one is skipped"),
    2: Verdict("a lock with two refs: when one drops the gate stays shut"),
    3: Verdict("a critical section runs: an outside waiter waits until it is gone"),
    4: Verdict("two critical sections at once: the second starts when the first has ended"),
    5: Verdict("nested sections: while the inner one runs the outer gets no new locks"),
    6: Verdict(
        "a section fails: whoever waits, now or later, gets that exception for ever",
        ours="the activation is thrown away: calls cut short are told so with its reason, the next call meets a fresh one",
    ),
    7: Verdict(
        "100,000 nested sections, or a straggler that waits through 50,000 of them, overflow no stack",
        ours="nesting is bounded, as theirs is by 64; the straggler waits through thousands, and gets its turn after the first",
    ),
    8: Verdict(
        "output locks A then B: B completes first, waiters for both still wait for A",
        ours="B cannot complete first: there is one round at a time, and it certifies commits in their order",
    ),
    9: Verdict("a lock taken after my wait began stalls: my wait is unaffected"),
    10: Verdict("a lock is cancelled: later waits reject, the gate is broken, earlier waits succeeded"),
    11: Verdict(
        "several puts in one turn: exactly one BEGIN/COMMIT",
        ours="several calls in one turn: still one, and one sync for all rooms that wait",
    ),
    12: Verdict("a multi-put with an oversized value fails: none of the pairs persist"),
    13: Verdict(
        "put + setAlarm in one turn: for an earlier alarm the scheduler is told before the commit",
        ours="the scheduler is the catalog, told in the same round: both are durable before the reply",
    ),
    14: Verdict(
        "setAlarm to a later time: the scheduler is told only after the commit",
        ours="it is told lazily, when the room leaves memory or was woken in vain: early is harmless, late never happens",
    ),
    15: Verdict(
        "a rejected move-earlier breaks the output gate; a rejected move-later does not",
        ours="a catalog that cannot be synced stops the runtime: the outcome is unknown; a later alarm asks nothing of it",
    ),
    16: Verdict(
        "many commits move the alarm later while a scheduler call is in flight: at most one further call is pending",
        ours="no call at all while the room is in memory, however many commits",
    ),
    17: Verdict("a put with no alarm change: the scheduler is not consulted"),
    18: Verdict("inside the alarm handler getAlarm is null; after success the alarm is gone, after failure still there"),
    19: Verdict("a handler whose commit fails: its alarm is not deleted"),
    20: Verdict("an invocation whose time differs from committed state is cancelled and rescheduled; if overdue, it runs"),
    21: Verdict(
        "an invocation that arrives during an uncommitted alarm change is not cancelled",
        why_not="a room fires its own alarms, in turns: between two turns nothing of it is uncommitted",
    ),
    22: Verdict("abandonAlarm(T) while the stored alarm is T': T' is kept"),
    23: Verdict("an unconfirmed put: the reply leaves before the commit finishes", why_not=CONFIRMED),
    24: Verdict("an unconfirmed put, then raw SQL in the same transaction: the gate locks", why_not=CONFIRMED),
    25: Verdict("an unconfirmed write whose commit fails still breaks the gate", why_not=CONFIRMED),
    26: Verdict("nested transactions of which only the deepest write is confirmed: the root commit locks", why_not=CONFIRMED),
    27: Verdict(
        "sync() then more writes: when the first commit ends, sync resolves without the second",
        ours="every call that returned is its own sync(), and writes that came after it do not extend it",
    ),
    28: Verdict(
        "deleteAll in a turn with an open transaction: earlier puts vanish, KV and SQL are empty, alarm per flag",
        ours="delete is the runtime's, between turns: rows, kv and alarms go, always; nothing acknowledged later is touched",
    ),
    29: Verdict(
        "deleteAll inside a transaction throws",
        why_not="no handler can delete its room: deleting is a verb of the runtime, which waits for no transaction",
    ),
    30: Verdict("transactionSync throws after creating the KV table: a put that follows works"),
    31: Verdict(
        "transaction() during an open implicit transaction: the earlier writes commit separately first",
        why_not="there are no explicit transactions: a call, or a slice of an async one, is the transaction",
    ),
    32: Verdict(
        'a nested transaction rolled back by the outer: inner "committed" writes vanish',
        ours="what nests is a handler that calls another of its methods: if it raises, both leave nothing",
    ),
    33: Verdict(
        "SQLITE_FULL caught by the handler, which returns normally: its caller still gets it; committed rows stay",
        ours="so it is where SQLite rolled back more than the statement; where it did not, the handler may go on",
    ),
    34: Verdict(
        "a deferred foreign key violated at commit: the caller rejects, the old stub stays broken, a new one works",
        ours="that call alone fails: its neighbours in the turn commit, and no stub ever breaks",
    ),
    35: Verdict(
        "abort right after an un-awaited put: the put is absent later, the error has the reset marker",
        ours="what was committed stays, what was not is gone, and each caller is told whether anything of its call may be there",
    ),
    36: Verdict(
        "a cursor partially read, the same SQL again: both iterate correctly",
        ours="rows are read at once, so they are a snapshot over whatever comes, awaits included",
    ),
    37: Verdict("one() on 0 or 2 rows: a specific error"),
    38: Verdict(
        "a join with duplicate names: object rows keep the last",
        ours="it is refused and says to use AS: a column that silently vanishes is a fault found late",
    ),
    39: Verdict("CREATE TABLE _CF_x in any case, or RENAME to it: not authorized", ours="every name that begins with _ is ours"),
    40: Verdict(
        '6 UNION ALL terms: "too many terms"',
        ours="they work: the bounds are the text's length and the statement's time, which are what costs",
    ),
    41: Verdict(
        "PRAGMA foreign_keys=OFF outside a transaction: violating inserts pass, foreign_key_check lists them",
        ours="refused: nobody but a handler runs SQL, always in a transaction, and keys always hold",
    ),
    42: Verdict(
        "10 s idle: the constructor runs again; a pending timer of 15 s keeps it; an endless one not beyond 142 s",
        ours="idle_seconds_max is the operator's; a pending handler keeps its room in memory for as long as it waits",
    ),
    43: Verdict("a hibernated object is called: its sockets can send", why_not=SOCKETS),
    44: Verdict("auto-response on a hibernated socket: a reply without waking", why_not=SOCKETS),
    45: Verdict("a send blocked on the output gate: the wire stays silent, then order is preserved", why_not=SOCKETS),
    46: Verdict("three un-awaited calls on a cold stub: results 0, 1, 2"),
    47: Verdict("evict during a running request: it waits, then memory resets and storage survives"),
    48: Verdict("an alarm set, a restart: getAlarm still returns it and it fires"),
}
