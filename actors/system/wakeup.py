"""Waiting for one another with the least trio can do: a task parks, another wakes it."""

import trio


class Wakeup:
    """One task waits, anybody sets. A set that finds nobody waiting is remembered; several count as one.

    Half the cost of a trio.Event, which cannot be set twice and allocates a parking lot.
    """

    __slots__ = ("_set", "_task")

    def __init__(self) -> None:
        self._set = False
        self._task: trio.lowlevel.Task | None = None

    def set(self) -> None:
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)
        else:
            self._set = True

    async def wait(self) -> None:
        """A checkpoint only if it has to wait. Cancellable."""
        if self._set:
            self._set = False
            return
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
