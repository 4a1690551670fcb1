"""Which texts are scored together, when, and on which threads."""
