"""What runs have logged, as tables, curves and pages."""
