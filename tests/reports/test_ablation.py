import numpy as np
from evidence import ablation
from evidence.ablation import INGREDIENTS, ablate
from evidence.setups import inner_setup
from evidence.two_sided import fit_two_sided


def test_one_ingredient_is_changed_at_a_time_and_a_fit_may_diverge(setup, tmp_path, monkeypatch):
    fitted = {}

    def fit_or_diverge(*problem, configs, **options):
        fitted.update(configs)
        if "debiased OT loss" in configs:
            raise FloatingPointError("data is nan")
        return fit_two_sided(*problem, configs=configs, **options)

    monkeypatch.setattr(ablation, "fit_two_sided", fit_or_diverge)
    inner = inner_setup(setup, 50)
    found = ablate(inner, seeds=(0, 2), cache=tmp_path, steps=1, workers=1)
    assert list(found.index) == [0, 2] and found.index.name == "seed"
    assert list(found.columns) == [*INGREDIENTS, "no interaction", "neighbour mixture"]
    assert found["debiased OT loss"].isna().all()
    assert np.isfinite(found.drop(columns="debiased OT loss")).all(axis=None)
    assert found["neighbour mixture"].nunique() == 1
    assert found["as recommended"].nunique() == 2

    recommended = fitted.pop("as recommended").to_dict()
    for name, changes in INGREDIENTS.items():
        if name in fitted:
            config = fitted[name].to_dict()
            assert {key for key in config if config[key] != recommended[key]} == set(changes)
    assert fitted["no interaction"].interaction == "none"
