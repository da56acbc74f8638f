"""Acknowledged means durable: rounds of syncs, the gates that wait for them, and the floor of free space."""
