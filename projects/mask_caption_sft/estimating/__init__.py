"""What a run will cost, counted before it on tensors without values."""
