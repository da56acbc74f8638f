"""The demo: post a chat to a server process, kill it half-way, and check from outside that nothing acknowledged was lost.

line       one line of a chat
irc        lines from IRC logs
chat       lines from a seeded synthetic chat
rooms      the actor that takes them
wire       messages between the two processes
server     the process with the runtime, the one that is killed
child      the parent's end of it
ledger     what was posted, and what the server answered
replay     the drive: post, kill, start again, go on
check      the ledger against the room files and the replica
progress   what is told meanwhile
verdict    what is told at the end
run        all of it in order
"""
