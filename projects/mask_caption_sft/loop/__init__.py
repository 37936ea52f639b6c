"""The method: student, teacher, and what they teach each other."""
