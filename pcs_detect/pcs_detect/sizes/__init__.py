"""Crystal sizes of groups of images: statistics, tests and figures from tables of crystals. Nothing here needs torch."""

from .analysis import Analysis, Options, analyse
from .groups import checked_groups, joined, read_groups
from .output import read_input, summary, write_sizes

__all__ = ["Analysis", "Options", "analyse", "checked_groups", "joined", "read_groups", "read_input", "summary", "write_sizes"]
