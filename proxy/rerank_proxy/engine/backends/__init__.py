"""What runs a model: packed and padded networks, TorchScript programs."""
