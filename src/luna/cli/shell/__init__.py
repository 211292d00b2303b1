"""The environment of every command: streams, signals, and the mapping of errors."""
