"""What the client is told: hits, totals, explanations, profiles, failures."""
