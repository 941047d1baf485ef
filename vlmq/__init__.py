"""vlmq: turn a vision-language model into an agent."""
