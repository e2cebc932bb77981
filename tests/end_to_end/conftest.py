"""Fixtures: a development instance for tests in a browser."""

from collections.abc import Iterator
from pathlib import Path
import signal
import subprocess
import sys
import threading

import pytest

from scripts.develop import free_port

READY_WITHIN = 120


@pytest.fixture
def development_instance(socket_enabled: None, tmp_path: Path) -> Iterator[str]:
    """Run scripts/develop with a folder and ports of its own, and yield the address of its Home Assistant."""
    port, gateway_port = free_port(), free_port()
    arguments = ["--state", str(tmp_path), "--port", str(port), "--gateway-port", str(gateway_port)]
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.develop", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as develop:
        assert develop.stdout
        timer = threading.Timer(READY_WITHIN, develop.terminate)
        timer.start()
        lines = []
        try:
            for line in develop.stdout:
                lines.append(line)
                if "Press Ctrl-C to stop" in line:
                    break
            else:
                pytest.fail(f"not ready within {READY_WITHIN} s:\n{''.join(lines)}")
            yield f"http://127.0.0.1:{port}"
        finally:
            timer.cancel()
            develop.send_signal(signal.SIGINT)
            rest = develop.stdout.read()
    assert develop.returncode == 0, rest
    assert " ERROR " not in "".join(lines) + rest
