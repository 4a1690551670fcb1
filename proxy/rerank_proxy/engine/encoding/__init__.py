"""From a query and texts to token ids, and from logits to scores."""
