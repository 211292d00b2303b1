"""The blocks of check_cuda.py: each takes what is given and returns rows of facts."""
