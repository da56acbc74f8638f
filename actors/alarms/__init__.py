"""What rooms do by themselves: alarms, when they are due, and who is opened for them."""
