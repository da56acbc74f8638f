"""A stay of a room in memory: the place for it, who may stay, and what keeps it in order meanwhile."""
