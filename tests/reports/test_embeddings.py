"""The score of frozen features."""

import numpy as np
from evidence.embeddings import embedding_f1


def test_embedding_f1_is_of_held_out_cells_and_chance_without_signal():
    rng = np.random.default_rng(0)
    labels, held = np.repeat(["a", "b"], 200), np.arange(400) % 2 == 0
    signal = (labels == "a")[:, None] * 4 + rng.standard_normal((400, 3))
    assert embedding_f1(signal, labels, held) > 0.95
    chance = embedding_f1(rng.standard_normal((400, 3)), labels, held)
    assert abs(chance - 0.5) < 0.12
    # Right in training, reversed on what is held out.
    leaked = np.where(held, labels == "b", labels == "a")[:, None].astype(float)
    assert embedding_f1(leaked, labels, held) < 0.05
