"""Reads: what they may say, and a room's own answer to them, past its mailbox."""
