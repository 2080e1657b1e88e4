"""Leaving out whole residual blocks."""
