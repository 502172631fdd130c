"""The flags of several processes: what cannot be meant is refused before anybody is waited for."""

import pytest

from experiment.processes import join


@pytest.mark.parametrize("coordinator", ["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999", "127.0.0.1:²", ":7000"])
def test_a_port_that_there_is_not(coordinator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jax.distributed.initialize", lambda *_: pytest.fail("it was waited for"))
    with pytest.raises(ValueError, match=r"needed is HOST:PORT of process 0, or auto; a port is 1 to 65535"):
        join(coordinator, 2, 1)
