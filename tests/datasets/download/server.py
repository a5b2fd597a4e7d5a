"""A server on this machine that sends one file, well or badly, and archives to be sent by it."""

import io
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tomoseg.datasets.download.http import Patience, Web

QUICK = Patience(tries=3, first_wait_s=0.0, longest_wait_s=0.0, timeout_s=20.0, progress_bytes=1)


class FileServer:
    """What is sent, how, and what was asked for.

    `drops` holds for each further request after how many bytes of the body the connection ends, `statuses` what it
    is refused with; None is neither.
    """

    def __init__(self, content, *, etag='"one"', ranges=True, drops=(), statuses=(), **odd):
        self.content, self.etag, self.ranges = content, etag, ranges
        self.drops, self.statuses, self.odd = list(drops), list(statuses), odd
        self.asked = []
        self.url = ""

    @property
    def spans(self):
        return [headers.get("Range") for headers in self.asked]

    def piece(self, start, end):
        return self.content[start:end]

    def __len__(self):
        return len(self.content)


@contextmanager
def serving(server):
    """Run it; its `url` is then that of the file."""
    handler = type("Handler", (_Handler,), {"file": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.url = f"http://127.0.0.1:{httpd.server_port}/files/scans.zip?download=1"
        try:
            yield server
        finally:
            httpd.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    file: FileServer

    def do_GET(self):
        file = self.file
        file.asked.append(dict(self.headers))
        status = file.statuses.pop(0) if file.statuses else None
        drop = file.drops.pop(0) if file.drops else None
        if status is not None:
            self.send_response(status)
            for name, value in file.odd.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end, total = 0, len(file), len(file)
        span = self.headers.get("Range")
        same = file.odd.get("blind") or self.headers.get("If-Range") in (None, file.etag)
        if span and file.ranges and same:
            first, _, last = span.removeprefix("bytes=").partition("-")
            start, end = (
                (int(first), min(int(last or total) + 1, total)) if first else (max(0, total - int(last)), total)
            )
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start += file.odd.get("shift", 0)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{total}")
        else:
            self.send_response(200)
        if file.etag is not None:
            self.send_header("ETag", file.etag)
        if not file.odd.get("endless"):
            self.send_header("Content-Length", str(end - start + file.odd.get("longer", 0)))
        self.end_headers()
        self.wfile.write(file.piece(start, end if drop is None else min(end, start + drop)))

    def log_message(self, *args):
        pass


def web(told=None):
    return Web(QUICK, on_wait=(told if told is not None else []).append)


def zip_of(files, compression=zipfile.ZIP_DEFLATED):
    """A ZIP file of names, or of entries, to their bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def dataset_files(*cases, root=""):
    """Two files a case, of bytes that tell them apart, and a table."""
    files = {f"{root}meta.csv": b"\xef\xbb\xbfimage_id;split\n"}
    for case in cases:
        files[f"{root}{case}/ct.nii.gz"] = f"scan of {case} ".encode() * 50
        files[f"{root}{case}/segmentations/liver.nii.gz"] = f"liver of {case} ".encode() * 20
    return files
