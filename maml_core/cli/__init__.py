"""The command line: arguments, commands, and output that works on any console."""
