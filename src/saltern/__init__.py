"""Saltern: binary image segmentation, Kaggle style, end to end."""

__version__ = "0.1.0"
