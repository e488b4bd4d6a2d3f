"""The HTML report in a real browser: browser_test.py REPORT_WRITE.

Debian's chromium, headless: no console message, nothing wider than the window, light and dark, on a
telephone's and a desktop's width; a page with 10,000 findings opens. SKIP where there is no chromium.
"""
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which(
    "google-chrome")
if CHROMIUM is None:
    print("SKIP: no chromium in PATH (Debian: apt-get install chromium)")
    sys.exit(77)

LIGHT, DARK = 1, 0  # blink's preferredColorScheme


def read_png(path):
    """Rows of (r, g, b) bytes of an 8-bit RGB or RGBA file without interlacing (PNG, part 9)."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    assert depth == 8 and interlace == 0 and colour in (2, 6), (depth, colour)
    size = 3 if colour == 2 else 4
    packed, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += length + 12
    raw, stride = zlib.decompress(packed), width * size
    rows, previous = [], bytearray(stride)
    for y in range(height):
        line = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        unfilter(raw[y * (stride + 1)], line, previous, size)
        rows.append(line)
        previous = line
    return width, height, size, rows


def unfilter(kind, line, previous, size):
    for x in range(len(line) if kind else 0):
        left = line[x - size] if x >= size else 0
        corner = previous[x - size] if x >= size else 0
        up = previous[x]
        if kind == 1:
            add = left
        elif kind == 2:
            add = up
        elif kind == 3:
            add = (left + up) // 2
        else:
            guess = left + up - corner
            add = min((left, up, corner), key=lambda value: abs(guess - value))
        line[x] = (line[x] + add) & 255


class Browser(unittest.TestCase):
    writer = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        subprocess.run([cls.writer, str(cls.folder)], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def open(self, page, width, height, scheme, *more):
        picture = self.folder / f"{page}-{width}-{scheme}.png"
        run = subprocess.run(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr",
             f"--user-data-dir={self.folder}/profile", f"--window-size={width},{height}",
             f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}", *more,
             (self.folder / page).as_uri()],
            capture_output=True, text=True, timeout=120)
        console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
        self.assertEqual(console, [], page)
        self.assertTrue(picture.exists(), run.stderr[-2000:])
        return picture

    def test_light_and_dark_on_both_widths(self):
        for width in (390, 1200):
            grounds = {}
            for scheme in (LIGHT, DARK):
                got_width, height, size, rows = read_png(self.open("jetson.html", width, 500, scheme))
                self.assertEqual((got_width, height), (width, 500))
                grounds[scheme] = rows[2][2 * size]
                colours = {bytes(row[x:x + 3]) for row in rows[::3] for x in range(0, len(row), size)}
                self.assertGreater(len(colours), 20, "nothing was drawn")
            self.assertGreater(grounds[LIGHT], 230)
            self.assertLess(grounds[DARK], 60)

    def test_hostile_text_runs_nothing(self):
        self.open("hostile.html", 390, 500, LIGHT)

    def test_nothing_is_wider_than_a_telephone(self):
        # A page that is too wide is laid out wider than the window; its dump says so.
        for page in ("jetson.html", "hostile.html", "two.html"):
            probe = self.folder / ("probe-" + page)
            text = (self.folder / page).read_text(encoding="utf-8")
            text = text.replace("default-src 'none'", "script-src 'unsafe-inline'")
            text += ("<script>document.title = document.documentElement.scrollWidth + ' of ' + "
                     "window.innerWidth</script>")
            probe.write_text(text, encoding="utf-8")
            dump = subprocess.run(
                [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
                 "--disable-dev-shm-usage", f"--user-data-dir={self.folder}/profile",
                 "--window-size=390,800", "--dump-dom", probe.as_uri()],
                capture_output=True, text=True, timeout=120).stdout
            wide, window = dump.split("<title>")[1].split("</title>")[0].split(" of ")
            self.assertLessEqual(int(wide), int(window), page)

    def test_ten_thousand_findings_open(self):
        begin = time.monotonic()
        self.open("large.html", 1200, 600, LIGHT)
        seconds = time.monotonic() - begin
        print(f"10,000 findings: {seconds:.1f} s")
        self.assertLess(seconds, 60)


if __name__ == "__main__":
    Browser.writer = sys.argv.pop(1)
    unittest.main()
