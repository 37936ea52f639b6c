"""What kind of data a folder holds, by the names of its files."""
