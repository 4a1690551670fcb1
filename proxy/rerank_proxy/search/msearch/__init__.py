"""Many searches in one request: its lines, coalescing, and first-fault resolution."""
