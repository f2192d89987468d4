"""Copies for students, pages to read, and the one page to send, on a miniature repository."""

import pytest
from miniature import BODY, add, execute

pytestmark = pytest.mark.slow
SHOWN = """
# %% tags=["example"]
print("of the " + "example")

# %%
print(Path(source).read_text())
Image(run.figures / "fig01_tiny.png")
"""


def test_student_copies_have_no_solutions_and_pages_render(ran):
    beside = ran / "notebooks" / "beside"
    beside.mkdir()
    (beside / "panels.py").touch()
    assert execute(ran, "student").returncode == 0
    assert execute(ran, "html").returncode == 0
    text = (ran / "build/student/01_tiny.ipynb").read_text()
    assert "secret" not in text
    assert "your turn" in text
    assert '"parameters"' in text
    assert (ran / "build/student/beside/panels.py").is_file()  # a notebook finds it beside itself
    assert "n is positive" in (ran / "build/html/01_tiny.html").read_text()


def test_the_page_to_send_has_text_and_outputs_alone(repo, tmp_path, monkeypatch):
    (tmp_path / "my cells.csv").write_text("of a colleague")
    monkeypatch.chdir(tmp_path)  # a path is meant from where the command was given
    add(repo, "01_tiny", BODY + SHOWN)
    got = execute(repo, "run", "01_tiny", "--own", "--file", "source=my cells.csv")
    assert got.returncode == 0, got.stderr
    assert "report: build/teach/01_tiny/report.html" in got.stdout
    page = (repo / "build/teach/01_tiny/report.html").read_text()
    for shown in ("1 · Tiny", "of a colleague", "n is positive", "data:image/png;base64,"):
        assert shown in page
    for hidden in (
        "run.record",
        "start_notebook",
        "your turn",
        "Exercise",
        "secret",
        "of the example",
    ):
        assert hidden not in page


def test_where_cells_are_yours_the_page_has_no_other(repo):
    body = BODY + '\n# %% tags=["yours"]\nprint("of your " + "file")\n'
    add(repo, "01_tiny", body)
    assert execute(repo, "run", "01_tiny", "--own").returncode == 0
    page = (repo / "build/teach/01_tiny/report.html").read_text()
    assert "of your file" in page
    assert "n is positive" not in page
