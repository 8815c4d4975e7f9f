"""Hours as points on a circle, so that 23 and 0 are neighbours."""

import numpy as np
import pandas as pd


def around_the_clock(hour: pd.Series) -> dict[str, pd.Series]:
    """Return sine and cosine of the hour hand."""
    angle = hour * (2 * np.pi / 24)
    return {"hour_sin": np.sin(angle), "hour_cos": np.cos(angle)}
