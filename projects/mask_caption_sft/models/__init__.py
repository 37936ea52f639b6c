"""Sa2VA, its teacher, and the loop that trains it."""
