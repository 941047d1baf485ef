"""The VLM actor-critic."""
