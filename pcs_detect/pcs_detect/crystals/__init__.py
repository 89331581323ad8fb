"""Tables of crystals, their files and pictures."""
