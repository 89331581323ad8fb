"""Labels of other programs, in and out."""
