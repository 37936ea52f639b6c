"""Data that lies in a bucket, through MMEngine's file client."""
