"""Losses on float32 logits (B,1,H,W) and targets {0, 1, 255}; 255 is ignored."""
