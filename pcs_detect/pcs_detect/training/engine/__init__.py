"""Training, tests, checkpoints."""
