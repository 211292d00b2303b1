"""What every command runs in: its streams and signals, and what its errors become."""
