"""The relay: connections, exchanges, and which requests the application gets. It knows nothing of scores."""
