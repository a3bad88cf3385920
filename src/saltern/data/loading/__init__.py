"""From the sample table to batches: cache, augmentation, padding, windows, workers."""
