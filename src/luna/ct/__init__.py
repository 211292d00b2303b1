"""CT files in, an immutable `Scan` out; lungs; cache."""
