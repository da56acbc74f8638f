"""`python -m durable_rooms` is `durable-rooms`."""

from durable_rooms.cli import main

main()
