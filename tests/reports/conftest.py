import pytest
from evidence.boards import Board
from evidence.choices import Choice
from evidence.predictions import Training, predict
from evidence.scores import Sizes, score_setup
from evidence.setups import setups


@pytest.fixture(scope="session")
def board():
    """A board on the data of ``tiny``: time 2, and the last population after its first time."""
    return Board(
        name="tiny",
        dataset="typed",
        protocol="leave_one_out",
        setups=((2.0,),),
        held_populations=1,
    )


@pytest.fixture(scope="session")
def setup(tiny, board):
    """The only set-up of that board."""
    (found,) = setups(board, tiny[0])
    return found


@pytest.fixture(scope="session")
def samples(setup, tmp_path_factory):
    """Predictions of every method, ours with two training seeds."""
    training = Training(seeds=(0, 1), peer_seeds=(0,), steps=2)
    cache = tmp_path_factory.mktemp("fits")
    return predict(setup, Choice(), training, cache=cache, workers=1)


@pytest.fixture(scope="session")
def scores(setup, samples):
    """Scores of these predictions."""
    return score_setup(setup, samples, Sizes(n=10, draws=1, transport_n=5))
