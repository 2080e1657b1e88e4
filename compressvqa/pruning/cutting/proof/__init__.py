"""Proof of a pruning: the small network equals the original whose cut channels are zero, and a wrong cut would show.

`inputs` draws what both are run on, `pair` makes the two networks, `shaken` moves their weights, `observe` runs one and
notes what it shows, `compare` measures how far they are apart, `power` asks whether a wrong cut would be noticed, and
`check` puts it together. `statistics` holds the one convention that is no equality with zeros.
"""
