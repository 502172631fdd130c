"""What checks the annotations of arrays at run time: beartype, to which a whole number is a float as well (PEP 484)."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
