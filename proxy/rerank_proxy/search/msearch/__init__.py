"""Many searches in one request, and searches that are made from templates."""
