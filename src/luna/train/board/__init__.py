"""Write a run's numbers, curves and pictures for TensorBoard."""
