"""Messages from room to room: stored with the sender's call, delivered in order, run once."""
