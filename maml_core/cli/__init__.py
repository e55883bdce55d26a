"""The command line: what it takes, what it does, and how it prints on any console."""
