"""The commands of ``pcs-detect``, a module each: ``add`` makes the parser, what runs imports the rest."""
