"""Images to probabilities to masks."""
