"""The mask table: made once from a dataset's files, then opened without reading any of them."""
