"""What a step costs, counted and timed, beside the same step written plainly."""
