"""Which channels go, taking them out, and the proof that the result is right."""
