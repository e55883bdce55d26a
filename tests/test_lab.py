"""`make lab` as a reader starts it: on this machine only, and not without its token."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.small import status

ROOT = Path(__file__).resolve().parent.parent
OPEN_DOORS = ("token=''", 'token=""', "password=", "disable_check_xsrf", "--ip", "allow_origin", "allow_remote_access")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def test_the_command_opens_no_door():
    told = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "jupyterlab" in told
    assert not [door for door in OPEN_DOORS if door in told]


@pytest.mark.skipif(not (ROOT / ".venv" / ".installed").exists(), reason="would install everything first")
def test_it_listens_here_only_and_wants_its_token(tmp_path):
    log = tmp_path / "log"
    settings = {"JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    with log.open("w") as out:
        lab = subprocess.Popen(
            ["make", "lab", "LAB_FLAGS=--no-browser --port=0"], cwd=ROOT, stdout=out, stderr=out,
            env=os.environ | settings, start_new_session=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/\S*\?token=(\w{20,})", log.read_text())):
            assert time.monotonic() < end and lab.poll() is None, log.read_text()
            time.sleep(0.2)
        port, token = found.groups()
        assert answer(f"http://127.0.0.1:{port}/api/contents") == 403
        assert answer(f"http://127.0.0.1:{port}/api/contents?token={token}") == 200
        for address in addresses_of_this_machine():
            with pytest.raises(OSError):
                socket.create_connection((address, int(port)), timeout=3)
    finally:
        os.killpg(lab.pid, signal.SIGTERM)
        lab.wait(30)


def answer(address: str) -> int:
    """The HTTP status, once there is one: the server names its address before it answers, on a busy machine long before."""
    end = time.monotonic() + 60
    while not (found := status(address)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def addresses_of_this_machine() -> set[str]:
    """Those that others could reach it by, as far as it knows its own name."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    except OSError:
        return set()
    return {address for address in found if not address.startswith("127.")}
