"""Episodes on disk, replay, batches."""
