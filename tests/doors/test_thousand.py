"""1,000 random cancellations and shutdowns at the border leave no task, thread, file or waiting caller behind.

(The fixture of this folder looks for threads and files after each test.)
"""

import asyncio
import gc
import random
import threading

from durable_rooms import CallTimeout, DeadlineExceeded, OutcomeUnknown, RuntimeClosed
from tests.doors.chat import ChatRoom, Sorry, for_asyncio, for_threads

RUNTIMES = 20
ASYNCIO_CANCELLED = 40  # a runtime
THREADS_TIMED_OUT = 10
CALLERS = 12
WORDS = (OutcomeUnknown, RuntimeClosed)


class Ledger:
    """What callers know: posts that returned, and posts of which it was said that they never ran."""

    def __init__(self):
        self.returned = set()
        self.never = set()
        self.waiting = 0
        self.cancelled = 0


async def calls(room, ledger, name, dice):
    for number in range(10**6):
        body = f"{name}-{number}"
        ledger.waiting += 1
        try:
            if dice.random() < 0.2:
                await room.call(ChatRoom.ping)
            else:
                await room.post(body)
                ledger.returned.add(body)
        except WORDS as error:
            if error.ran == "no":
                ledger.never.add(body)
            return
        except asyncio.CancelledError:
            ledger.cancelled += 1
            raise
        finally:
            ledger.waiting -= 1


async def one_runtime(path, seed, ledger):
    dice = random.Random(seed)
    tasks = []
    ending = dice.choice(("returns", "raises", "is cancelled"))
    first = ledger.cancelled

    async def body():
        async with for_asyncio(path) as runtime:
            rooms = [runtime.room(ChatRoom, f"room-{number}") for number in range(3)]
            names = iter(range(10**6))

            def another():
                tasks.append(asyncio.ensure_future(calls(dice.choice(rooms), ledger, f"{seed}-{next(names)}", dice)))

            for _ in range(CALLERS):
                another()
            while ledger.cancelled - first < ASYNCIO_CANCELLED:
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
                dice.choice(tasks).cancel()
                if dice.random() < 0.3:
                    asyncio.ensure_future(runtime.status()).cancel()
                tasks[:] = [task for task in tasks if not task.done()]
                while len(tasks) < CALLERS:
                    another()
            if ending == "raises":
                raise Sorry
            if ending == "is cancelled":
                current = asyncio.current_task()
                assert current is not None
                current.cancel()
                await asyncio.sleep(0)
        return runtime._border

    task = asyncio.ensure_future(body())
    [outcome] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, {"raises": Sorry, "is cancelled": asyncio.CancelledError}.get(ending, object))
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
    if ending == "returns":
        assert not outcome.under_way
        assert not outcome._inbox


def test_random_cancellations_and_shutdowns_in_asyncio(tmp_path):
    ledger = Ledger()

    async def main():
        for seed in range(RUNTIMES):
            await one_runtime(tmp_path, seed, ledger)
            assert ledger.waiting == 0
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert ledger.cancelled >= RUNTIMES * ASYNCIO_CANCELLED
    check(tmp_path, ledger)


def timing_out(room, name, dice, ledger, enough):
    for number in range(10**6):
        body = f"{name}-{number}"
        timeout = dice.choice((None, 1e-6, 1e-4, 3e-4))
        try:
            room.options(timeout=timeout).post(body)
            ledger.returned.add(body)
        except (CallTimeout, DeadlineExceeded) as error:
            if error.ran != "unknown":
                ledger.never.add(body)
            enough.release()
        except WORDS as error:
            if error.ran == "no":
                ledger.never.add(body)
            return


def one_runtime_of_threads(path, seed, ledger):
    enough = threading.Semaphore(0)
    threads = []
    with for_threads(path) as runtime:
        for place in range(4):
            room = runtime.room(ChatRoom, f"room-{place % 3}")
            arguments = (room, f"t{seed}-{place}", random.Random(place), ledger, enough)
            threads.append(threading.Thread(target=timing_out, args=arguments))
            threads[-1].start()
        for _ in range(THREADS_TIMED_OUT):
            assert enough.acquire(timeout=60)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a caller still waits"
    assert not runtime._border.under_way
    assert not runtime._border._inbox


def test_random_timeouts_and_shutdowns_in_threads(tmp_path):
    ledger = Ledger()
    for seed in range(RUNTIMES):
        one_runtime_of_threads(tmp_path, seed, ledger)
    assert ledger.never
    check(tmp_path, ledger)


def check(path, ledger):
    gc.collect()  # a task or coroutine that nobody awaited would complain, and fail the test
    assert ledger.returned
    with for_threads(path) as runtime:
        there = [body for number in range(3) for body in runtime.room(ChatRoom, f"room-{number}").bodies()]
    assert len(there) == len(set(there)), "a post ran twice"
    assert ledger.returned <= set(there), "a post that returned is lost"
    assert not ledger.never & set(there), "a post that was said never to run is there"
