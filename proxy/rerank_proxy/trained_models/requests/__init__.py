"""The bodies of the trained model APIs."""
