"""Labelled images for training."""
