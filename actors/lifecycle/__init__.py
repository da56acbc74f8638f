"""What is done to a room from outside, between two stays: closed, deleted, loaded."""
