"""The hatch: one call from another process of the same user, through a local socket in the data directory.

`durable-rooms call` uses it, and `verify --repair` to have rooms copied into the replica. A running process listens on
`DATA/call.sock` (0600; only its own user may connect, and root); one connection carries one request and one reply. `direct` opens
the directory instead, where no process runs.

place    where the socket is, and names that are too long for one
wire     requests and replies, as bytes; asking a runtime
server   in the running process
client   in the other
direct   without a process
"""
