"""Observations to messages to tokens, and replies back to actions."""
