import pytest
from evidence.interaction_terms import FORMS, forms_of, on_types
from evidence.shares import share_interval

from scimf.dynamics.config import SDEConfig


def test_an_interval_of_shares_stays_between_0_and_1():
    found = share_interval([1.0, 1.0, 0.9])
    assert found["hi"] == 1.0 and 0 < found["lo"] < found["mean"] == pytest.approx(2.9 / 3)
    assert share_interval([0.2, 0.4]) == {"mean": pytest.approx(0.3), "n_seeds": 2}


def test_forms_differ_in_their_interaction_and_in_the_aids_of_the_additive_one():
    forms = forms_of(SDEConfig(steps=3))
    assert tuple(forms) == tuple(on_types(3)) == FORMS
    assert [config.interaction for config in forms.values()] == list(FORMS)
    aids = [config.centred for config in on_types(3).values()]
    assert aids == [True, False, False]
