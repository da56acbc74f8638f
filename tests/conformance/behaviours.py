"""The 30 behaviours that a faithful Durable Object shows, and what becomes of each in a room."""

from tests.conformance.verdict import Verdict

BEHAVIOURS = {
    1: Verdict("one live instance per id; concurrent first calls build one"),
    2: Verdict("lazy creation: ids and stubs cost nothing"),
    3: Verdict(
        "ids are deterministic, keyed by namespace, MAC-checked; the name is visible inside",
        ours="an id is its name, keyed by class, always visible inside; nothing to forge, for only code can address a room",
    ),
    4: Verdict(
        "the constructor is serialised before any event; its failure is cached for that instance",
        ours="the failure is cached for a growing while: calls are refused with its reason, then the next one tries again",
    ),
    5: Verdict("blockConcurrencyWhile: exclusive, own I/O delivered, 30 s, failure = reset, depth 64"),
    6: Verdict("single-threaded turns; interleaving only at non-storage awaits"),
    7: Verdict("storage awaits do not interleave", ours="storage is not awaited: SQL is a few microseconds, synchronous"),
    8: Verdict("FIFO gate, one waiter released per opening, critical sections first"),
    9: Verdict("output is held until preceding writes are durable, including exceptions"),
    10: Verdict("later writes never delay earlier output"),
    11: Verdict("execution continues in parallel with the commit"),
    12: Verdict(
        "allowUnconfirmed bypasses holding but not failure",
        why_not="there are no unconfirmed writes: whatever a reply may have seen is durable before it leaves",
    ),
    13: Verdict("same-turn writes are atomic; a crash is all or nothing", ours="an exception, too: theirs keeps half the writes"),
    14: Verdict("commit failure: the caller sees it, nothing leaked, memory discarded, the last commit intact"),
    15: Verdict("transactionSync / transaction / nested semantics incl. alarm rollback", ours="a call is the transaction"),
    16: Verdict(
        "catchable SQL errors do not reset; FULL, IOERR, NOMEM, INTERRUPT do",
        ours="a read that is interrupted resets nothing either",
    ),
    17: Verdict("a broken stub stays broken, a new one works", ours="no stub breaks: the same one meets the next activation"),
    18: Verdict("per-stub E-order"),
    19: Verdict("error flags remote / retryable / overloaded / reset", ours="`ran` first: no, rolled back, or unknown"),
    20: Verdict("a bounded queue with explicit overload errors", ours="each bound has a name and a value, and the error says it"),
    21: Verdict("idle eviction with visible blockers; no shutdown hook", ours="also by LRU, when there are too many"),
    22: Verdict("abort() is immediate, drops unflushed writes", ours="memory goes; whatever was committed stays"),
    23: Verdict(
        "alarm: single, atomic with data, never early, at least once, null inside the handler, backoff, survives restart",
        ours="any number, by name, with a payload; after the last retry it is kept as a dead letter with its reason",
    ),
    24: Verdict("alarm earlier/later ordering invariant against the scheduler"),
    25: Verdict("SQL sandbox: authorizer, pragma allow-list, limits, hidden tables", ours="no pragma, no temporary table"),
    26: Verdict("cursor semantics incl. rows read/written and duplicates", ours="lists of rows, and rows changed"),
    27: Verdict(
        "hibernatable sockets: tags, attachments, auto-response, ordering",
        why_not="a room holds no sockets: a server holds them, and calls the room",
    ),
    28: Verdict("deleteAll resets the file, alarm per flag", ours="the room is gone everywhere, its replica rows included"),
    29: Verdict(
        "bookmarks, restore at next session with undo bookmark",
        ours="dump and load: a copy of the room at one moment, and a room made from it, at once and durably",
    ),
    30: Verdict("sequentially consistent replica reads by bookmark, writes to the primary only"),
}
