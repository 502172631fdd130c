"""The data files that scikit-learn brings along, read without importing it, which takes a second."""

import importlib.util
from pathlib import Path


def packaged(*parts: str) -> Path:
    """A file of scikit-learn's `datasets` package, e.g. ``packaged("data", "digits.csv.gz")``.

    Raises:
      FileNotFoundError: scikit-learn is not installed, or has no such file.
    """
    found = importlib.util.find_spec("sklearn")
    folders = list(found.submodule_search_locations or []) if found else []
    for folder in folders:
        file = Path(folder, "datasets", *parts)
        if file.is_file():
            return file
    where = folders[0] if folders else "this environment, which is without it; install scikit-learn"
    raise FileNotFoundError(f"scikit-learn's {'/'.join(parts)} is not in {where}")
