"""Masks in columns, listed once, opened without reading a file."""
