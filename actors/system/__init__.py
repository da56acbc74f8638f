"""The ways out of the process, and what the process shares: everything that is not deterministic stands behind a door."""
