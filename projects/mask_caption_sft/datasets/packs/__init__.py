"""A dataset in one LMDB file."""
