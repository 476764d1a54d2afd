"""Makes sure that the browser tests have a Chromium: `python -m tests.browser_present`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_HELP = "the browser tests need Chromium; install it (Debian: apt-get install chromium) so that it is on PATH"


def find_chromium() -> str | None:
    """The path of a Chromium on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> int:
    if find_chromium():
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("==> installing Chromium for the browser tests", flush=True)
        quiet = {"stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        subprocess.run(command, check=False, **quiet)
    if find_chromium():
        return 0
    print(HOW_TO_HELP, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
