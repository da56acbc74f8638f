"""Variants of the round, the gate, and of what happens when a sync fails."""

import trio

from actors.activation.activation import Activation
from actors.calls.turn import Turns
from actors.sync.gate import Gate
from actors.sync.syncer import Syncer
from tests.sabotage import scenes
from tests.sabotage.variants import Setter, Variant


def reply_before_the_round(put: Setter) -> None:
    def hold(self, waiting):
        for one in waiting:
            one.release()

    put(Gate, "hold", hold)


def round_certifies_what_came_meanwhile(put: Setter) -> None:
    certified = Activation.certified
    put(Activation, "certified", lambda self, count: certified(self, self.gate.committed))


def no_sync(put: Setter) -> None:
    async def sync(self, targets, catalog_changed):
        await trio.lowlevel.checkpoint()
        return {}

    put(Syncer, "_sync", sync)


def no_directory_sync(put: Setter) -> None:
    in_thread = Syncer._sync_in_thread
    put(Syncer, "_sync_in_thread", lambda self, work, catalog: in_thread(self, [(*one[:2], None) for one in work], catalog))


def reads_not_gated(put: Setter) -> None:
    run = Turns.run

    def let_out(self, mailbox):
        before = self._transaction.seq
        settled, *rest = run(self, mailbox)
        held = [call for call in settled if call.error is not None or self._transaction.seq != before]
        for call in (call for call in settled if call not in held):
            call.seq = before
            call.release()
        return held, *rest

    put(Turns, "run", let_out)


def exceptions_not_gated(put: Setter) -> None:
    run = Turns.run

    def let_out(self, mailbox):
        settled, *rest = run(self, mailbox)
        for call in settled:
            if call.error is not None:
                call.release()
        return [call for call in settled if call.error is None], *rest

    put(Turns, "run", let_out)


def ignore_eio(put: Setter) -> None:
    sync = Syncer._sync

    async def nothing_failed(self, targets, catalog_changed):
        await sync(self, targets, catalog_changed)
        return {}

    put(Syncer, "_sync", nothing_failed)


def retry_a_failed_sync(put: Setter) -> None:
    in_thread = Syncer._sync_in_thread

    def again(self, work, catalog):
        failed, error = in_thread(self, work, catalog)
        return in_thread(self, work, catalog) if failed or error else (failed, error)

    put(Syncer, "_sync_in_thread", again)


def ignore_a_failed_syncfs(put: Setter) -> None:
    each = Syncer._sync_each

    async def ask_nobody(self, targets, *, catalog):
        failed, self.failures = self.failures, 0
        return {} if failed else await each(self, targets, catalog=catalog)

    put(Syncer, "_sync_each", ask_nobody)


def syncfs_breaks_the_rounds_rooms_only(put: Setter) -> None:
    sync = Syncer._sync

    async def of_the_round(self, targets, catalog_changed):
        every, self._open = self._open, {}
        try:
            return await sync(self, targets, catalog_changed)
        finally:
            self._open |= every

    put(Syncer, "_sync", of_the_round)


VARIANTS = (
    Variant("reply before the round", 2, reply_before_the_round),
    Variant("round certifies commits made during it", 1, round_certifies_what_came_meanwhile),
    Variant("no sync", 1, no_sync),
    Variant("no directory sync", 6, no_directory_sync),
    Variant("reads not gated", 2, reads_not_gated),
    Variant("exceptions not gated", 2, exceptions_not_gated),
    Variant("ignore EIO", 21, ignore_eio),
    Variant("retry a failed sync", 21, retry_a_failed_sync),
    Variant("ignore a failed syncfs", 23, ignore_a_failed_syncfs),
    Variant(
        "syncfs failure breaks only the round's rooms",
        23,
        syncfs_breaks_the_rounds_rooms_only,
        scenes.writeback_fails_beside_a_syncfs,
    ),
)
