"""Read what the files of a model say, and refuse what is not done. Imports neither torch nor transformers."""
