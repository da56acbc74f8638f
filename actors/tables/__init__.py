"""What is inside a room's file: the runtime's tables and the user's, how they come to be, and how their changes are captured."""
