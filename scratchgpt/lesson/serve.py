"""A lesson's page served to this machine alone, with a slider that takes any value in its range."""

import errno
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from scratchgpt.errors import InputError
from scratchgpt.lesson.page import for_page, page
from scratchgpt.lesson.recording import record

HOST = "127.0.0.1"
MOST_KEPT = 64  # recordings


def serve(lesson, port, short=False, browser=None):
    """Serves until Ctrl-C. browser: a function that opens an address, or None."""
    server = make_server(lesson, port, short)
    address = f"http://{HOST}:{server.server_port}/"
    print(f"{address}  (Ctrl-C stops)", flush=True)
    if browser is not None:
        browser(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()


def make_server(lesson, port, short=False):
    """The server, listening on the loopback address alone. Raises InputError when the port cannot be had."""
    if not 0 <= port < 65536:
        raise InputError(f"--port is {port}; expected 1 to 65535, or 0 for any that is free")
    handler = type("LessonHandler", (Handler,), {"runs": Runs(lesson, short)})
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InputError(f"port {port} cannot be had: {error.strerror}; choose another with --port") from None
    try:
        handler.whole = page(lesson, record(lesson, short), live=True).encode("utf-8")
    except BaseException:  # Ctrl-C too: the port is free again
        server.server_close()
        raise
    return server


class Runs:
    """Recordings at other values of the slider, made one at a time when they are asked for."""

    def __init__(self, lesson, short):
        self.lesson, self.short = lesson, short
        self.kept, self.lock = {}, threading.Lock()

    def at(self, text):
        """The recording at the value that `text` says, as JSON. Raises InputError unless it is a number in range."""
        slider = self.lesson.slider
        if slider is None:
            raise InputError("this lesson has no slider")
        expected = f"expected a number from {slider.low:g} to {slider.high:g}"
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"{slider.name} is {text[:40]!r}; {expected}") from None
        if not slider.low <= value <= slider.high:  # nan is in no range
            raise InputError(f"{slider.name} is {text[:40]}; {expected}")
        if isinstance(slider.value, int) and not value.is_integer():
            raise InputError(f"{slider.name} is {text[:40]}; expected a whole number")
        with self.lock:
            if value not in self.kept:
                if len(self.kept) >= MOST_KEPT:
                    self.kept.clear()
                recording = for_page(record(self.lesson, self.short, value), listings=True)
                self.kept[value] = json.dumps(recording, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
            return self.kept[value]


class Handler(BaseHTTPRequestHandler):
    """GET / is the page, GET /run?value=NUMBER a recording; everything else is refused."""

    runs: Runs
    whole: bytes

    def do_GET(self):
        # another site may point its own name at 127.0.0.1 (DNS rebinding), or make a browser ask from its own page
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            return self.reply(403, "text/plain", b"this server speaks to its own machine alone")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return self.reply(403, "text/plain", b"this server answers its own page alone")
        address = urlsplit(self.path)
        if address.path == "/":
            return self.reply(200, "text/html", self.whole)
        if address.path != "/run":
            return self.reply(404, "text/plain", b"there is only the lesson here")
        try:
            return self.reply(200, "application/json", self.runs.at(parse_qs(address.query).get("value", [""])[-1]))
        except InputError as error:
            return self.reply(400, "text/plain", str(error).encode("utf-8"))

    def reply(self, code, kind, content):
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Requests are not news."""
