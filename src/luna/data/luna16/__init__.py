"""The tables and scans of LUNA16, read and joined."""
