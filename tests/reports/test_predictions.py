from evidence.choices import Choice
from evidence.predictions import EXTRA, LEARNED, Training, predict


def test_every_method_is_trained_with_its_seeds(samples):
    seeds = {}
    for method, seed in samples:
        seeds.setdefault(method, []).append(seed)
    assert set(seeds) == set(LEARNED) and set(EXTRA) < set(LEARNED)
    twice = {"scimf", "scimf_paced", "scimf_forward", "no_interaction", "flow_matching"}
    for method, found in seeds.items():
        assert sorted(found) == ([0, 1] if method in twice else [0])


def test_only_what_is_asked_for_is_trained(setup, tmp_path):
    training = Training(methods=("attention",), peer_seeds=(3,), steps=2)
    found = predict(setup, Choice(), training, cache=tmp_path, workers=1)
    assert list(found) == [("attention", 3)] and len(list(tmp_path.iterdir())) == 1
    nothing = predict(setup, Choice(), Training(methods=()), cache=tmp_path, workers=1)
    assert nothing == {}
