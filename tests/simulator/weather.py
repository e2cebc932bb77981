"""Sun, clouds and load of the house, as functions of time and a seed.

There is no state: the same seed and the same second always give the same value.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import asin, cos, pi, radians, sin
from typing import Final

DAY: Final = 86400.0
#: Local hour -> share of the house's usual extra load (breakfast, cooking, evening).
HABITS: Final = (
    *(0.12, 0.10, 0.10, 0.10, 0.12, 0.20, 0.55, 0.85, 0.60, 0.40, 0.35, 0.45),
    *(0.60, 0.45, 0.35, 0.35, 0.50, 0.90, 1.00, 0.95, 0.80, 0.65, 0.40, 0.20),
)


def elevation(epoch: float, latitude: float, longitude: float) -> float:
    """Sine of the sun's height above the horizon (negative at night).

    Cooper's declination and the solar hour angle, good to about a degree; the equation of time is left out.
    """
    day_of_year = epoch / DAY % 365.2425
    declination = radians(-23.44) * cos(2 * pi * (day_of_year + 10) / 365.2425)
    hour_angle = 2 * pi * (epoch % DAY / DAY - 0.5) + radians(longitude)
    lat = radians(latitude)
    return sin(lat) * sin(declination) + cos(lat) * cos(declination) * cos(hour_angle)


def elevation_degrees(epoch: float, latitude: float, longitude: float) -> float:
    """Height of the sun above the horizon in degrees."""
    return asin(elevation(epoch, latitude, longitude)) * 180 / pi


@lru_cache(maxsize=65536)
def chance(seed: int, name: str, index: int) -> float:
    """Return a random number in [0, 1) determined by seed, name and index."""
    digest = blake2b(f"{seed}/{name}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def smooth(seed: int, name: str, epoch: float, period: float) -> float:
    """Vary smoothly in [0, 1) with a new target every `period` seconds."""
    index, fraction = divmod(epoch / period, 1.0)
    before, after = chance(seed, name, int(index)), chance(seed, name, int(index) + 1)
    return before + (after - before) * fraction * fraction * (3 - 2 * fraction)


def sunshine(seed: int, epoch: float, latitude: float, longitude: float) -> float:
    """Return the share of their rated power that panels produce, up to 0.95, by sun, sky and clouds."""
    height = elevation(epoch, latitude, longitude)
    if height <= 0:
        return 0.0
    sky = 0.45 + 0.55 * smooth(seed, "sky", epoch, DAY)
    clouds = 1.0 - 0.75 * max(0.0, smooth(seed, "cloud", epoch, 900.0) - 0.5) * (1.2 - sky)
    return float(0.95 * height**1.15 * sky * clouds)


def load(seed: int, epoch: float, local_second: float, base: float, extra: float) -> float:
    """Return the load in watts: `base` always, `extra` by the hour, and an occasional kettle."""
    habit = HABITS[int(local_second // 3600) % 24] * extra * (0.6 + 0.8 * smooth(seed, "habit", epoch, 1800.0))
    kettle = 2000.0 if chance(seed, "kettle", int(epoch // 300)) < 0.02 * (1 + 3 * habit / (extra + 1)) else 0.0
    return base * (0.8 + 0.4 * smooth(seed, "fridge", epoch, 600.0)) + habit + kettle
