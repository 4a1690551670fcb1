"""Build the answer to the client: hits, totals, explanations, profiles."""
