"""The replica in a web browser: Datasette, read-only, in a process of its own, for this machine alone.

    with Browser(replica, title="data") as browser:
        browser.wait()                       # until the process ends

browser    the parent's end: the port, the process, its end
server     the process: Datasette with what it may do (never imported by the parent: it needs the extra `browse`)
database   how each query opens the file, and closes it
views      what there is to read: views, times, order
words      what Datasette shall say about it: titles, questions, what is hidden

Neither process belongs to the runtime: the replica is read as any program would read it, through SQLite's own locks.
"""

from durable_rooms.browse.browser import Browser, BrowserFailed, DatasetteMissing, PortTaken

__all__ = ["Browser", "BrowserFailed", "DatasetteMissing", "PortTaken"]
