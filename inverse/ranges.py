"""What the numbers of measurements and methods may be."""

from limits import Range, not_negative, positive, share, whole

RANGES: dict[str, Range] = {
    "noise": not_negative(note="a standard deviation; 0 is an exact measurement"),
    "factor": whole(2),
    "std": positive(note="in pixels"),
    "zeta": positive(note="published: 0.3 to 1"),
    "data_std": positive(note="published: 1"),
    "iterations": whole(1, note="as many as were measured are exact, a few suffice"),
    "resamplings": whole(1, note="published: 10"),
    "jump": whole(1, note="published: 10"),
    "strength": share(above=True, note="published: 0.3 to 0.6"),
}
