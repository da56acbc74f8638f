"""Rooms that call rooms: the way out, what each handler waits for, and circles that are refused."""
