"""Runs the blocks of the documents and compares what they print."""
