import pytest
from evidence import boards
from evidence.boards import BOARDS, DEVELOPMENT, Board

from scimf.data.registry import entries
from scimf.simulate.systems import SYSTEMS


def test_keys_of_boards_can_be_recorded():
    for name in BOARDS:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.")


def test_boards_are_read_as_they_are_written():
    assert set(DEVELOPMENT) < set(BOARDS)
    for name, board in BOARDS.items():
        assert board.name == name and board.what
        assert board.dataset in {*entries(), *SYSTEMS}
    neighbours = [name for name, b in BOARDS.items() if b.protocol == "neighbours_only"]
    assert neighbours == ["cite50.bridge", "cite100.bridge"]
    assert BOARDS["emt"].setups == ((1 / 3,), (1.0,))
    assert BOARDS["cardiomyocyte"].setups == ((24.0, 48.0, 72.0),)
    assert BOARDS["toy"].options == {"seed": 1, "n_populations": 6, "n_cells": 60}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('protocol = "bridge"', "Board.protocol: expected one of .*neighbours_only"),
        ('protocol = "leave_one_out"\nn_cells = 3', "unknown settings .*n_cells"),
        ("", "missing 1 required .*'protocol'"),
    ],
)
def test_a_mistake_in_the_file_names_the_board(tmp_path, monkeypatch, line, told):
    text = f'["cite.new"]\ndataset = "typed"\nsetups = [[2.0]]\n{line}\n'
    (tmp_path / "boards.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(boards, "__file__", str(tmp_path / "boards.py"))
    with pytest.raises(ValueError, match=rf"boards\.toml, \[cite\.new\]: .*{told}"):
        boards.read_boards()


def test_a_board_cannot_be_changed_by_accident():
    board = Board(name="x", dataset="typed", protocol="leave_one_out", setups=[[2]])
    assert board.setups == ((2,),)
    with pytest.raises(AttributeError):
        board.n = 3
