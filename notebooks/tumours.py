"""Helpers of ``quickstart.ipynb``."""

import pandas as pd
from sklearn.metrics import accuracy_score, roc_auc_score


def score(model, features: pd.DataFrame, truth: pd.Series) -> dict[str, float]:
    """Return how well `model` tells the two kinds apart on rows it has not seen."""
    malignant = model.predict_proba(features)[:, 1]
    return {
        "accuracy": round(float(accuracy_score(truth, malignant > 0.5)), 4),
        "roc_auc": round(float(roc_auc_score(truth, malignant)), 4),
    }


def strongest(model, names: list[str], count: int = 8) -> pd.Series:
    """Return the features a forest relies on most, weakest first, ready for a bar chart."""
    return pd.Series(model.feature_importances_, index=names).nlargest(count).iloc[::-1]
