"""A process that never ends, for tests: it waits, or takes more and more memory."""

import json
import sys
import time

if __name__ == "__main__":
    held = []
    while True:
        if json.loads(sys.argv[1])["grows"]:
            held.append(b"x" * 2_000_000)
        time.sleep(0.01)
