"""What a notebook needs around its science: its source and profiles, and the record of its run."""

from scimf.notebook.run import Run, say, start_notebook
from scimf.notebook.source import Source

__all__ = ["Run", "Source", "say", "start_notebook"]
