"""The border between a host that is not trio and the runtime, which lives in a trio loop in a thread of its own.

host's threads │ send ─▶ inbox ─▶ one wake-up a batch ─▶ │ runtime
               │ waiter ◀─ desk ◀─ one wake-up a batch ◀─ │

`engine` is the thread and its life; `border` is the line itself; `crossing` (a call) and `job` (anything else asked of the
runtime) are what crosses; a `Desk` is where replies come out, and each door has its own kind. DESIGN.md says why.
"""
