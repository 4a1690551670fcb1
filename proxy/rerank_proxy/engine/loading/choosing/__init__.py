"""Choose the way in which a network runs: the fastest that gives the same."""
