"""Build what encodes texts, and what makes scores of them."""
