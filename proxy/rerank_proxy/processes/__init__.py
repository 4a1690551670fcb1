"""The processes of the proxy: how they start, watch one another, and stop."""
