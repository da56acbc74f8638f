"""What a handler says to SQLite: statements, values, transactions, and what may be said at all."""
