"""A recipe and its run: the checked recipe, its networks, the run folder, the pipeline and its plan."""
