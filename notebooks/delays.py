"""Helpers of ``flights.ipynb``."""

import numpy as np
import pandas as pd

from delay_hours import around_the_clock

LATE = 15
"""Minutes after which a flight counts as late, as the airlines' own statistics have it."""


def departures(flights: pd.DataFrame) -> pd.DataFrame:
    """Return the flights that took off, with the hour they were due and whether they were late."""
    flown = flights.dropna(subset=["dep_delay"])
    return flown.assign(late=flown["dep_delay"] >= LATE, due=pd.to_datetime(flown[["year", "month", "day", "hour"]]))


def with_weather(flown: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Return the flights with the weather at their airport in the hour they were due."""
    wanted = ["origin", "year", "month", "day", "hour", "temp", "wind_speed", "precip", "visib"]
    hourly = weather[wanted].drop_duplicates(["origin", "year", "month", "day", "hour"])
    return flown.merge(hourly, on=["origin", "year", "month", "day", "hour"], how="left")


def model_table(flown: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return what is known before take-off, as numbers, and whether the flight was late."""
    features = pd.DataFrame(
        {
            "month": flown["month"],
            "weekday": flown["due"].dt.dayofweek,
            "distance": flown["distance"],
            "carrier": flown["carrier"].astype("category").cat.codes,
            "origin": flown["origin"].astype("category").cat.codes,
            **{name: flown[name] for name in ("temp", "wind_speed", "precip", "visib")},
            **around_the_clock(flown["hour"]),
        }
    ).astype(np.float64)
    return features, flown["late"].astype(np.int64)
