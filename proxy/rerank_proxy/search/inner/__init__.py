"""Build the searches that are sent upstream, and read their answers."""
