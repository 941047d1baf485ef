"""What is done with a trained run: acting from Python, watching, reading token by token, ranking, exporting."""
