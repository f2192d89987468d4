"""Files are written whole or not at all; jobs have one thread; random states are given back."""

import numpy as np
import pytest
import torch

from scimf.core.checkpoints import read_checkpoint, write_checkpoint
from scimf.core.files import sha256_of, write_file, written_aside
from scimf.core.optimise import Plan
from scimf.core.parallel import resolve_device, seeded, side_by_side


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "deep" / "numbers.txt"
    write_file(path, "one")
    digest = sha256_of(path)
    with pytest.raises(RuntimeError):
        with written_aside(path) as aside:
            aside.write_text("half of two")
            raise RuntimeError
    assert path.read_text() == "one" and sha256_of(path) == digest
    write_file(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]


def test_a_part_of_a_checkpoint_that_became_a_folder_is_damage(tmp_path):
    """One bit of the directory of the archive does that, and no check sum covers it."""
    path = tmp_path / "model.pt"
    write_checkpoint(path, {"weights": torch.arange(6.0)})
    assert torch.equal(read_checkpoint(path)["weights"], torch.arange(6.0))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")  # the first one in the directory
    content[entry + 38] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pt: damaged .*attributes"):
        read_checkpoint(path)


def threads_and_sum(a, b):
    return torch.get_num_threads(), a + b


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_give_their_results_in_order_in_one_thread_each(workers):
    torch.set_num_threads(2)
    found = side_by_side(threads_and_sum, [(1, 1), (2, 2), (3, 3)], workers=workers)
    assert found == [(1, 2), (1, 4), (1, 6)]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_the_caller_finds_the_random_state_as_it_was():
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(3):
        assert torch.equal(torch.rand(2), first)


def test_a_device_is_resolved_by_name():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [("hold", 0.01, 0.1), ("cosine", 0.01, 0.1), ("cosine_to_zero", 1.0, 0.0), ("step", 1.0, 0.9)],
)
def test_step_sizes_begin_and_end_as_the_schedule_says(schedule, first, last):
    plan = Plan(steps=200, lr=1.0, schedule=schedule)
    rates = [plan.rate(step) for step in range(200)]
    assert rates[0] == pytest.approx(first) and rates[-1] == pytest.approx(last, abs=0.06)
    assert np.max(rates) == pytest.approx(1.0)


def test_a_weight_of_zero_leaves_a_term_out_and_others_count_once():
    plan = Plan(steps=1, lr=1.0, weights={"a": 2.0, "b": 0.0})
    terms = {"a": torch.tensor(3.0), "b": torch.tensor(torch.nan), "c": torch.tensor(1.0)}
    assert plan.total(terms).item() == 7.0
