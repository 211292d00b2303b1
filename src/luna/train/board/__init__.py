"""What TensorBoard shows of a run: its numbers, curves and pictures."""
