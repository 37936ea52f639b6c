"""Pure functions on tensors and text."""
