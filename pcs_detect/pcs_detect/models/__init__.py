"""The detectors that ship, and what their cards say."""
