"""A module that speaks the protocol by hand, and does one thing wrong: `faulty.py FAULT FIRED [WHEN]`.

FIRED is a file that is written right before the fault. WHEN is the operation in which it happens; others go well.
"""

import hashlib
import json
import os
import signal
import sys
import time

fault, fired = sys.argv[1:3]
when = sys.argv[3:] or None
out, inp = sys.stdout.buffer, sys.stdin.buffer


def say(**message):
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


def hear():
    line = inp.readline()
    if not line:
        sys.exit(76)
    return json.loads(line)


def fire():
    with open(fired, "a") as to:
        to.write("%s %s\n" % (fault, op))


def sleep():
    while True:
        time.sleep(1000)


hello = hear()
op = hello["op"]
if when and op not in when:
    fault = "none"
if fault == "version":
    fire()
    say(t="hello", protocol=2)
    sleep()
say(t="hello", protocol=1, features=["raw"], ops=["export", "import", "check", "reset", "revert", "legacy", "run"])
if op in ("import", "check", "legacy"):
    while hear()["t"] != "have":
        pass
elif op in ("revert", "run"):
    assert hear()["t"] == "begin"
DATA = b"all of it\n" * 1000
if op == "export":
    say(t="config", key="answer", value=42)
    say(t="blob", s=1, name="state")
    half = DATA[: len(DATA) // 2]
    say(t="raw", s=1, n=len(half))
    out.write(half + b"\n")
    out.flush()
if op == "import":
    # What an import changes, and must be put back.
    changed = os.environ.get("CHANGES")
    if changed:
        say(t="space.put_path", id=1, path=changed)
        assert hear()["t"] == "ack"
        with open(changed, "w") as to:
            to.write("half an import\n")

if fault == "killed":
    fire()
    os.kill(os.getpid(), signal.SIGKILL)
elif fault == "lying":
    fire()
    say(t="end", s=1, bytes=len(DATA), sha256="0" * 64)
    sleep()
elif fault == "blocking":
    fire()
    sleep()
elif fault == "oversize":
    fire()
    try:
        out.write(b'{"t":"log","msg":"' + b"x" * (2 << 20))
        out.flush()
    except BrokenPipeError:
        pass
    sleep()
elif fault == "garbage":
    fire()
    out.write(b"Traceback (most recent call last):\n\xff\xfe\n")
    out.flush()
    sleep()
elif fault == "early-exit":
    fire()
    sys.exit(3)
elif fault == "no-done":
    fire()
    sys.exit(0)
elif fault == "credit":
    fire()
    if op == "export":
        # One that gets no credit while the older one is open.
        say(t="blob", s=3, name="other")
        for _ in range(100):
            say(t="raw", s=3, n=65536)
            out.write(b"x" * 65536 + b"\n")
            out.flush()
    else:
        say(t="credit", s=1000, n=1)
    sleep()
elif fault == "endless-log":
    fire()
    lines = b'{"t":"log","msg":"and on and on"}\n' * 2000
    while True:
        out.write(lines)
        out.flush()
elif fault == "deaf":
    # Neither reads nor ends, but is never silent.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    fire()
    while True:
        say(t="alive")
        time.sleep(0.05)
elif fault == "memory":
    fire()
    much = b"x" * (300 << 20)
    say(t="log", msg="it has %d bytes" % len(much))
elif fault == "forks":
    fire()
    pids = open(fired + ".pids", "a")
    for _ in range(4):
        os.fork()
        if os.getpid() != os.getpgrp():
            pass
    pids.write("%d\n" % os.getpid())
    pids.flush()
    if os.getpid() != os.getpgid(0):
        sleep()

if op == "export":
    rest = DATA[len(DATA) // 2 :]
    say(t="raw", s=1, n=len(rest))
    out.write(rest + b"\n")
    say(t="end", s=1, bytes=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
if op == "import":
    say(t="take", what="blob")
    say(t="take", what="config")
say(t="done")
if fault == "no-exit":
    fire()
    sleep()
