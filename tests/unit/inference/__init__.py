"""Inference endpoints without models."""
