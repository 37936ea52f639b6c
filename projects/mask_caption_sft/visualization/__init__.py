"""Pictures of regions, captions and masks."""
