"""Build tokenizers from their files, without transformers."""
