"""Other projects' trajectories as episodes, failed attempts included; what cannot be used is counted by reason."""
