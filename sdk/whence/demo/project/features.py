"""Turns pixels into features."""

import numpy as np


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Grey levels 0 to 16, as numbers from 0 to 1."""
    return pixels / 16.0
