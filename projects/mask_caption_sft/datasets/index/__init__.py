"""Indexes of masks: built once, then opened without reading any annotation file."""
