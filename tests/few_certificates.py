"""Why HTTP clients of the tests know one authority only.

A client reads its authorities when it is made: 140 of them cost 20 ms, a session makes thousands of clients, and none of
them ever speaks TLS, for everything is on loopback. SSL_CERT_FILE is heeded by httpx and all that stands on it.
"""

from __future__ import annotations

import os
from pathlib import Path

import certifi

_END = "-----END CERTIFICATE-----\n"


def trust_one_authority(directory: Path) -> None:
    """Names a file with one certificate as all there are, for this process and those it starts."""
    first = Path(certifi.where()).read_text().partition(_END)[0] + _END
    file = directory / "one_authority.pem"
    file.write_text(first)
    os.environ["SSL_CERT_FILE"] = str(file)
