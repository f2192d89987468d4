"""How well cell types can be read from features that were learned without them."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler


def embedding_f1(features: np.ndarray, labels: np.ndarray, held: np.ndarray) -> float:
    """Macro F1 of a logistic regression from frozen features to labels, on held-out cells.

    ``features`` (cells, dim), ``labels`` and booleans ``held`` (cells,). Features are standardised,
    and the regression is fitted, on the other cells.
    """
    scaled = StandardScaler().fit(features[~held]).transform(features)
    classifier = LogisticRegression(max_iter=500, C=0.1).fit(scaled[~held], labels[~held])
    return float(f1_score(labels[held], classifier.predict(scaled[held]), average="macro"))
