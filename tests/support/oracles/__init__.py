"""Slow, obvious reimplementations: one image, one pair, one point at a time, straight from the papers."""
