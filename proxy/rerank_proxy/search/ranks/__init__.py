"""Which documents are ranked, in which order, with which scores. Arithmetic only."""
