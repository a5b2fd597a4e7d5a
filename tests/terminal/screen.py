"""A terminal of our own: a command runs on a pseudo-terminal, and what it writes is put onto a screen as emulators do.

Only what rich writes is known: colours and the cursor's visibility (passed over), carriage return, line feed, up, and
erasing a line. Anything else fails, so that nothing is misread.
"""

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

CONTROL = re.compile(r"\x1b\[(\??)(\d*(?:;\d+)*)([A-Za-z])")
BEGUN = re.compile(r"\x1b(\[[?\d;]*)?\Z")
"""A control that goes on in the next piece of output."""


class Screen:
    """Lines as they stand, those that have scrolled away included."""

    def __init__(self, columns):
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0

    def write(self, text):
        at = 0
        while at < len(text):
            found = CONTROL.match(text, at)
            if found:
                self._control(*found.groups())
                at = found.end()
            else:
                self._put(text[at])
                at += 1

    def _control(self, private, number, letter):
        if letter == "A":
            self.row = max(0, self.row - int(number or 1))
        elif letter == "K":
            assert number == "2"
            self.lines[self.row] = ""
        else:
            assert letter == "m" or (private and letter in "hl"), (private, number, letter)

    def _put(self, sign):
        if sign == "\r":
            self.column = 0
        elif sign == "\n":
            self._next_line()
        else:
            assert sign.isprintable() or sign == "\xa0", repr(sign)
            if self.column == self.columns:
                self._next_line()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + sign + line[self.column + 1 :]
            self.column += 1

    def _next_line(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")


def run_on_terminal(argv, columns=80, timeout=120, term="xterm", **more):
    """What stood on the screen after each piece of output, the last as it was left, and the exit status."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR", "CI"}}
    child = subprocess.Popen(
        [sys.executable, *map(str, argv)],
        stdin=slave,
        stdout=more.get("stdout", slave),
        stderr=slave,
        env=env | {"TERM": term},
    )
    os.close(slave)
    screen, stood, rest, ends = Screen(columns), [], "", time.monotonic() + timeout
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")  # a piece may end within a character
    try:
        while True:
            assert time.monotonic() < ends, screen.lines
            try:
                piece = os.read(master, 65536)
            except OSError:  # the child has closed its end
                break
            text = rest + decoder.decode(piece)
            begun = BEGUN.search(text)
            whole, rest = (text[: begun.start()], begun.group()) if begun else (text, "")
            screen.write(whole)
            stood.append(list(screen.lines))
        screen.write(rest)
        return [*stood, [line.rstrip() for line in screen.lines]], child.wait(timeout)
    finally:
        child.kill()
        os.close(master)
