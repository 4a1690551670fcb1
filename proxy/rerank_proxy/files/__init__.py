"""Files that the proxy keeps: written whole or not at all, private, and removed after a crash."""
