"""Other authors' packages, each in an environment of its own: ``make peers``."""
