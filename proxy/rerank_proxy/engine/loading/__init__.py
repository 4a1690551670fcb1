"""Load models: find or download their files, inspect them, build what scores."""
