"""Acting: the policy, the collector, and the assembly of episodes."""
