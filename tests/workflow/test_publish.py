"""Publishing complete runs and nothing else, on a miniature repository."""

import json

import pytest
from miniature import BODY, add, add_report, execute, record_of, results

pytestmark = pytest.mark.slow


def test_publish_copies_a_complete_run_and_removes_what_is_stale(ran):
    stale = ran / "figures/published/teach/fig_old.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    got = execute(ran, "publish")
    assert got.returncode == 0, got.stderr
    assert not stale.exists()
    assert (ran / "figures/published/teach/fig01_tiny.png").is_file()
    assert (ran / "results/published/teach/01_tiny.json").is_file()
    pair = json.loads((ran / "notebooks/01_tiny.ipynb").read_text())
    assert set(pair["metadata"]["scimf"]) == {"profile", "source_sha256", "py_sha256"}
    assert "papermill" not in json.dumps(pair)
    assert "injected-parameters" not in json.dumps(pair)
    assert "profile teach" in json.dumps(pair["cells"])
    assert execute(ran, "check-pairs").returncode == 0
    assert "current" in execute(ran, "check-figures").stdout


def edit_record(root, **changes):
    results(root).write_text(json.dumps(record_of(root) | changes))


def stop_early(root):
    edit_record(root, status="running")


def skip_data(root):
    edit_record(root, skipped={"cite": "not downloaded"})


def skip_a_claim(root):
    edit_record(root, claims={"c": {"status": "skipped", "reason": ""}})


def change_a_number(root):
    edit_record(root, metrics={"n": 3})


def change_the_source(root):
    add(root, "01_tiny", BODY + "\n# %%\nn + 1\n")


def change_the_profile(root):
    tables = root / "notebooks" / "profiles.toml"
    written = tables.read_text()
    tables.write_text(written.replace("[teach.01_tiny]\nn = 2", "[teach.01_tiny]\nn = 3"))


def change_a_figure(root):
    (root / "figures/teach/fig01_tiny.png").write_bytes(b"")


def add_another(root):
    add(root, "02_more")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (stop_early, "no complete run"),
        (skip_data, "skipped cite: not downloaded"),
        (skip_a_claim, "claim skipped: c"),
        (change_a_number, "its numbers are not of the executed notebook"),
        (change_the_source, "was run with other sources"),
        (change_the_profile, "was run with other sources"),
        (change_a_figure, "not as this run drew it"),
        (add_another, "02_more: no complete run"),
    ],
)
def test_publish_refuses_what_is_not_a_complete_run(ran, spoil, message):
    spoil(ran)
    got = execute(ran, "publish")
    assert got.returncode == 1
    assert message in got.stderr
    assert not (ran / "results/published").exists()
    assert not (ran / "notebooks/01_tiny.ipynb").exists()


def test_a_report_is_published_with_the_code_beside_it(ran):
    add_report(ran, "losses")
    assert execute(ran, "run", "losses").returncode == 0
    got = execute(ran, "publish")
    assert got.returncode == 0, got.stderr
    assert (ran / "notebooks/reports/losses.ipynb").is_file()
    assert (ran / "results/published/teach/losses.json").is_file()
    tables = ran / "notebooks/reports/evidence/tiny_tables.py"
    tables.write_text(tables.read_text().replace("42", "43"))
    assert "teach/losses: made from other sources" in execute(ran, "check-figures").stdout
    got = execute(ran, "publish")
    assert got.returncode == 1
    assert "losses: was run with other sources" in got.stderr
    assert "01_tiny" not in got.stderr


def test_a_notebook_of_another_profile_is_published_alone(ran):
    assert execute(ran, "publish", "--profile", "paper").returncode == 1
    assert execute(ran, "run", "01_tiny", "--profile", "paper").returncode == 0
    add(ran, "02_more")
    kept = ran / "results/published/paper/02_more.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"notebook": "02_more", "figures": {}}))
    # Another notebook changes nothing for it.
    assert execute(ran, "publish", "--profile", "paper").returncode == 0
    assert kept.is_file()
    assert (ran / "results/published/paper/01_tiny.json").is_file()


def test_a_notebook_of_teach_that_is_current_need_not_be_run_again(ran):
    assert execute(ran, "publish").returncode == 0
    results(ran).unlink()
    add(ran, "02_more")
    assert execute(ran, "run", "02_more").returncode == 0
    before = (ran / "notebooks/01_tiny.ipynb").read_bytes()
    got = execute(ran, "publish")
    assert got.returncode == 0, got.stderr
    assert "published teach: 02_more" in got.stdout
    assert (ran / "results/published/teach/01_tiny.json").is_file()
    assert (ran / "notebooks/02_more.ipynb").is_file()
    assert (ran / "figures/published/teach/fig01_tiny.png").is_file()
    assert (ran / "notebooks/01_tiny.ipynb").read_bytes() == before
    change_the_source(ran)
    assert "01_tiny: no complete run" in execute(ran, "publish").stderr


def test_publish_refuses_smoke(ran):
    got = execute(ran, "publish", "--profile", "smoke")
    assert got.returncode == 1
    assert "nothing of it is published" in got.stderr


def test_publish_refuses_paths_of_the_machine(repo):
    add(repo, "01_tiny", "\n# %%\nsys.executable\n")
    assert execute(repo, "run", "01_tiny").returncode == 0
    got = execute(repo, "publish")
    assert got.returncode == 1
    assert "machine's path" in got.stderr


def test_a_published_figure_that_was_altered_is_reported(ran):
    assert execute(ran, "publish").returncode == 0
    (ran / "figures/published/teach/fig01_tiny.png").write_bytes(b"")
    said = execute(ran, "check-figures").stdout
    assert "teach/fig01_tiny.png: not as the run drew it" in said
    assert "1 published files are not current" in said


def test_pairs_keep_the_outputs_of_unchanged_cells(ran):
    assert execute(ran, "publish").returncode == 0
    pair = ran / "notebooks/01_tiny.ipynb"
    before = cells_by_id(pair)
    source = ran / "notebooks/01_tiny.py"
    source.write_text(source.read_text().replace("run.record(n=n)\n", "run.record(n=n + 0)\n"))
    assert "make notebooks" in execute(ran, "check-pairs").stderr
    assert execute(ran, "pairs").returncode == 0
    assert execute(ran, "check-pairs").returncode == 0
    after = cells_by_id(pair)
    same = set(before) & set(after)
    assert len(same) == len(before) - 1, "an unchanged cell lost its id"
    for name in same:
        assert after[name].get("outputs") == before[name].get("outputs")


def cells_by_id(pair):
    return {cell["id"]: cell for cell in json.loads(pair.read_text())["cells"]}
