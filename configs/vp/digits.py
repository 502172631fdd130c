"""VP on digits."""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    return digits.get_config()
