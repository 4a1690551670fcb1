"""Files that the proxy keeps: read safely, written whole or not at all, private, removed after a crash."""
