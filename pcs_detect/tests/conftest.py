"""Tests here need the photograph half alone; those in ``training`` need torch, OpenMMLab and pcs_augment."""
