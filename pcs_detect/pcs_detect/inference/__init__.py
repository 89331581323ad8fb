"""Detectors at work: tiles, networks, suppression, folders of photographs."""
