"""Ways in which people write scorers, each as a network small enough to prune in a second; one file for each kind."""
