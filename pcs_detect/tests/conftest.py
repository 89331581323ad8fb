import pcs_detect.toolbox  # noqa: F401  # first: it makes mmrotate importable
