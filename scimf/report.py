"""One page that can be sent to a colleague: text, tables and pictures in a single HTML file, nothing to install."""

import base64
import html
from pathlib import Path

import pandas as pd

from scimf.notebook import write_atomic

STYLE = """
body {font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222}
table {border-collapse: collapse; margin: .5em 0} td, th {padding: .2em .8em; border-bottom: 1px solid #ccc; text-align: left}
img {max-width: 100%; margin: .5em 0} h1 {font-size: 1.5em} h2 {font-size: 1.15em; margin-top: 1.6em}
"""  # noqa: E501


def write_report(path: Path, *, title: str, parts: dict[str, "str | pd.DataFrame | Path"]) -> Path:
    """Write a page with one section per part: a text, a table, or a picture (PNG), under its heading.

    Raises
    ------
    FileNotFoundError
        If a picture is not there; nothing is written then.
    """
    sections = [f"<h2>{html.escape(heading)}</h2>\n{_section(part)}" for heading, part in parts.items()]
    page = f'<!doctype html>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n'
    write_atomic(path, page + f"<h1>{html.escape(title)}</h1>\n" + "\n".join(sections) + "\n")
    return path


def _section(part: "str | pd.DataFrame | Path") -> str:
    if isinstance(part, Path):
        return f'<img alt="" src="data:image/png;base64,{base64.b64encode(part.read_bytes()).decode()}">'
    if isinstance(part, pd.DataFrame):
        return part.to_html(float_format="{:.3g}".format, border=0, index=not isinstance(part.index, pd.RangeIndex))
    return "".join(f"<p>{html.escape(line)}</p>" for line in part.splitlines())
