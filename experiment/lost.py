"""One line where a process of several is missing or lost, in place of what JAX prints while it aborts the others.

JAX notices in C++, writes a report of dozens of lines to the standard error and aborts; no Python runs any more. So
the standard error of such a command goes through a process beside it, which passes everything on, but makes a line of
that report.
"""

import os
import re
import select
import signal
import subprocess
import sys

HEARTBEAT_SECONDS = 60  # without a sign of life after which a process counts as lost
MEETING_SECONDS = 300  # for which the first wait for the last
HELD_SECONDS = 10.0  # after which a report that no abort has followed is passed on after all
REPORT = re.compile(
    rb"^[EFW]\d{4} [^\n]*(?:coordination_service|preemption_sync_manager\.cc|JAX distributed service detected fatal)",
    re.MULTILINE,
)
UNHEALTHY = re.compile(rb"tasks are unhealthy[^\n]*\n((?:\d+\n)+)")
BEGINNING = re.compile(rb"(?:[EFW]\d{0,4}(?: [^\n]*)?)\Z")


def watch(processes: int | None, process: int | None) -> None:
    """Send the standard error of this process through another one, from now on."""
    incoming, outgoing = os.pipe()
    numbers = processes or 0, -1 if process is None else process, HEARTBEAT_SECONDS, MEETING_SECONDS
    subprocess.Popen(
        [sys.executable, "-I", __file__, *map(str, numbers)], stdin=incoming, stdout=subprocess.DEVNULL, close_fds=True
    )
    os.close(incoming)
    os.dup2(outgoing, 2)
    os.close(outgoing)


def severed(error: Exception) -> bool:
    """Whether an error of JAX says that another process no longer answers; its own report follows and ends this one."""
    return any(
        name in str(error) for name in ("Gloo", "NCCL", "closed by peer", "Socket closed", "coordination service")
    )


def line(report: bytes, processes: int, process: int, heartbeat: int, meeting: int) -> str:
    """What the report of process `process` of `processes` (-1 and 0: not known) means; with JAX's limits in seconds."""
    after = "; start all of them again, and the run goes on from what was saved"
    if found := UNHEALTHY.search(report):
        lost = [number.decode() for number in found[1].split() if int(number) != process]
        who = f"processes {', '.join(lost)} were" if len(lost) > 1 else f"process {lost[0] if lost else process} was"
        return f"error: {who} lost ({heartbeat} s without a sign of life){after}"
    if b"RegisterTask" in report:
        if process == 0:
            missing = "process 1" if processes == 2 else f"one of the processes 1 to {processes - 1}"
            return f"error: {missing} has not come within {meeting} s; start one for each --process"
        return f"error: process 0 has not come within {meeting} s; start it, on the machine of --coordinator"
    if process != 0:
        return f"error: process 0 was lost{after}"
    return f"error: another process was lost{after}"


def main(*numbers: int) -> None:
    """Pass the standard input on to the standard error until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the command may still have something to say
    held, reporting = b"", False
    while True:
        waiting = HELD_SECONDS if reporting else 0.2
        if held and not select.select([0], [], [], waiting)[0]:
            held, reporting = _pass_on(held), False
            continue
        if not (data := os.read(0, 65536)):
            break
        held += data
        if not reporting and (found := REPORT.search(held)):
            _pass_on(held[: found.start()])
            held, reporting = held[found.start() :], True
        if not reporting:
            beginning = BEGINNING.search(held[held.rfind(b"\n") + 1 :])
            whole = len(held) - (len(beginning[0]) if beginning else 0)
            held = _pass_on(held[:whole]) + held[whole:]
    aborted = reporting and b"JAX distributed service detected fatal errors" in held
    _pass_on(f"{line(held, *numbers)}\n".encode() if aborted else held)


def _pass_on(data: bytes) -> bytes:
    while data:
        data = data[os.write(2, data) :]
    return b""


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
