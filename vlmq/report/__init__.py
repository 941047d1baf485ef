"""Statistics and pictures for people."""
