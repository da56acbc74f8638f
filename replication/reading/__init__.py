"""Reading the replica: where a read runs, what it may see, and what a session has seen."""
