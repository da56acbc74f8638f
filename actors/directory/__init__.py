"""A data directory: its owner, and its catalog of rooms, healthy, sick and deleted."""
