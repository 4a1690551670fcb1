"""Run models on a device: packed and padded networks, TorchScript programs, ONNX files."""
