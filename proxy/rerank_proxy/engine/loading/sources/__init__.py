"""Find or download a model's files."""
