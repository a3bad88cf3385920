"""Run lengths, the proven CSV, VOC result pictures."""
