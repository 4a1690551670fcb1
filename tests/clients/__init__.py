"""Other versions of the official client, each in an environment of its own."""
