"""From a directory or a repository to a loaded model."""
