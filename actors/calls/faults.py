"""Faults: whose doing it was that ended a call. Alarms and tells count failures of their own and wait out all others.

It is read from an error's cause: `Turns.undo` gives one to the call at whose statement SQLite rolled back, and to no neighbour;
`Exclusive` one to the handler whose block was held for too long, and to nobody else who was cut short.
"""

import trio

from actors.errors import TurnVoid


def voided_its_turn(error: TurnVoid) -> bool:
    return error.__cause__ is not None


def overstayed(error: BaseException) -> bool:
    """It kept others out for too long."""
    return isinstance(error.__cause__, trio.TooSlowError)
