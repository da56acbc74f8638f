"""One call, from the caller's arguments to its outcome: admitted, waiting, in its turn, in a slice, in a thread."""
