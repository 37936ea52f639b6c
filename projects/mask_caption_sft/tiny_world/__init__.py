"""A small world of coloured shapes in the real formats, and a small Sa2VA to learn it."""
