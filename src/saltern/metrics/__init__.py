"""Scores per image and pooled, from counts of pixels."""
