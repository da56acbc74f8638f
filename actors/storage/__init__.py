"""A room's file on the disk: opened, born, put right, closed, tidied up after."""
