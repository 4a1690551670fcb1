"""Real parts for the tests, and doubles for what cannot run here."""
