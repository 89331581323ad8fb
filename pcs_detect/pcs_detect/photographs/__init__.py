"""Photographs as grey values."""
