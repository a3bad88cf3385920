"""The proven CSV, VOC result pictures."""
