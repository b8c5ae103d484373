#!/usr/bin/env python3
"""Show the output of `make demo` in headless Chromium and check what a user sees.

    python3 tests/view.py [PATH...] [--screenshots DIR]

PATHs are those of `segbundle view` (default: eval/demo). Needs a built program, `make viewer` and Chromium (or CHROMIUM).
Only Python's standard library is used: Chromium is driven through its debugging pipe.
"""
import argparse
import base64
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Browser:
    """A page of 1280×800 pixels in Chromium, rendered by the CPU."""

    def __init__(self, dark):
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not chromium:
            sys.exit("Chromium is missing: install it, or set CHROMIUM to its path")
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        from_us, self.to_chromium = os.pipe()
        self.from_chromium, to_us = os.pipe()

        def pipes():
            # First to numbers that are not in use.
            os.dup2(from_us, 20), os.dup2(to_us, 21)
            os.dup2(20, 3), os.dup2(21, 4)

        flags = ["--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars",
                 "--no-first-run", "--disable-extensions", "--window-size=1280,800", f"--user-data-dir={self.profile.name}", "--remote-debugging-pipe"]
        self.process = subprocess.Popen([chromium, *flags, "about:blank"], close_fds=False, preexec_fn=pipes,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(from_us), os.close(to_us)
        self.count, self.rest, self.problems = 0, b"", []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_chromium, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                part = os.read(self.from_chromium, 1 << 20)
                if not part:
                    sys.exit("Chromium ended")
                self.rest += part
            text, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.count:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def note(self, event):
        """Collect errors of scripts, of the content security policy, and requests to other hosts."""
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"].get("exception", params)))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.problems.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))
        elif event.get("method") == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not re.match(r"(http://127\.0\.0\.1[:/]|data:|blob:|about:)", url):
                self.problems.append(f"request to {url}")

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            sys.exit(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, seconds=120):
        end = time.time() + seconds
        while not self.value(expression):
            if time.time() > end:
                sys.exit(f"timed out after {seconds} s: {expression}; the page says {self.value('document.body.innerText')!r}; {self.problems}")
            time.sleep(0.1)

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def screenshot(self, path):
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path:
            with open(path, "wb") as out:
                out.write(png)
        return png

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.to_chromium), os.close(self.from_chromium)
        self.profile.cleanup()

    def colors(self, png, points):
        """Colors of a screenshot at points, each a list of red, green, blue."""
        return self.value(f"""(async () => {{
            const image = new Image();
            image.src = "data:image/png;base64,{base64.b64encode(png).decode()}";
            await image.decode();
            const canvas = Object.assign(document.createElement("canvas"), {{ width: image.width, height: image.height }});
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            return {json.dumps(points)}.map(([x, y]) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3));
        }})()""")


class Page:
    """What a user does and sees."""

    def __init__(self, browser, url):
        self.browser, self.value = browser, browser.value
        browser.call("Page.navigate", url=url)
        self.wait_until_shown()

    def wait_until_shown(self):
        self.browser.wait("['ready', 'error'].includes(document.body?.dataset.state)")
        if self.value("document.body.dataset.state") != "ready":
            sys.exit(f"the page says: {self.value('document.getElementById(`message`).textContent')}")

    def text(self, id):
        return self.value(f"document.getElementById('{id}').textContent")

    def cases(self):
        return self.value("[...document.querySelectorAll('#cases button')].map(button => button.title)")

    def structures(self):
        """Name, color and volume of each row."""
        return self.value("""[...document.querySelectorAll('#structures li')].map(row => [row.dataset.name,
            getComputedStyle(row.querySelector('.key')).backgroundColor.match(/\\d+/g).map(Number), row.querySelector('.volume').textContent])""")

    def click(self, selector, at=0):
        self.value(f"document.querySelectorAll('{selector}')[{at}].click()")

    def set(self, id, value, event="input"):
        self.value(f"{{const field = document.getElementById('{id}'); field.value = '{value}'; field.dispatchEvent(new Event('{event}'))}}")

    def hover(self, x, y):
        """Structure and value shown at a point of the screen."""
        self.browser.mouse("mouseMoved", x, y)
        return self.value("[document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent, document.getElementById('status').textContent]")


def statistics(program, labels, image):
    """Rows of `segbundle statistics` by name."""
    text = subprocess.run([program, "-q", "statistics", labels, "--image", image], check=True, capture_output=True, text=True).stdout
    header, *rows = (line.split(",") for line in text.splitlines())
    return {row[header.index("name")]: dict(zip(header, row)) for row in rows}


def check(condition, message):
    print(("ok    " if condition else "WRONG ") + message)
    check.failed |= not condition


check.failed = False


def check_case(page, browser, rows, file):
    structures = page.structures()
    named = {name: color for name, color, _ in structures}
    check(named.keys() == rows.keys(), f"{len(named)} structures are listed, those of `segbundle statistics`")
    volumes = [(name, float(text.split()[0]), float(rows[name]["volume_ml"])) for name, _, text in structures if name in rows]
    check(all(abs(shown - ml) <= 0.51 or abs(shown - ml) < 0.06 for _, shown, ml in volumes), "volumes equal those of `segbundle statistics`")
    # A click goes to a voxel of the structure.
    astray = []
    for at, (name, _, _) in enumerate(structures):
        page.click("#structures button", at)
        if page.text("status").split("  ·  ")[0] != name:
            astray.append(name)
    check(not astray, f"a click on a name goes to the structure {astray or ''}")
    largest = max(volumes, key=lambda row: row[2])[0]
    page.click("#structures button", [name for name, _, _ in structures].index(largest))
    browser.screenshot(file("at"))
    # Names and colors at points of the planes, with opaque labels.
    page.set("opacity", 1)
    png = browser.screenshot(None)
    points = [(x, y) for x in range(310, 1270, 24) for y in range(8, 760, 16)]
    seen = {point: page.hover(*point)[0] for point in points}
    # At edges, colors are interpolated.
    inside = lambda x, y, name: all(page.hover(x + dx, y + dy)[0] == name for dx, dy in ((-4, 0), (4, 0), (0, -4), (0, 4)))
    seen = {point: name for point, name in seen.items() if name and inside(*point, name)}
    colors = dict(zip(seen, browser.colors(png, list(seen))))
    near = [max(abs(a - b) for a, b in zip(colors[point], named[name])) <= 6 for point, name in seen.items()]
    check(len(set(seen.values())) >= 10, f"the cursor is inside of {len(set(seen.values()))} structures at {len(seen)} of {len(points)} points")
    check(sum(near) >= 0.9 * len(near), f"their color is that of the name at {sum(near)} points (the crosshair covers some)")
    page.set("opacity", 0.5)
    point, name = next((point, name) for point, name in seen.items() if name == max(seen.values(), key=list(seen.values()).count))
    shown = page.hover(*point)
    check(re.match(rf"{re.escape(name)}  ·  -?\d+(\.\d)? HU  ·  [RL] [\d.]+  [AP] [\d.]+  [SI] [\d.]+ mm$", shown[1]), f"the cursor shows: {shown[1]}")
    browser.screenshot(file("hover"))
    # Off: gray, and no name at the cursor.
    page.click("#none")
    png = browser.screenshot(file("off"))
    gray = [max(color) - min(color) <= 3 for color in browser.colors(png, list(seen))]
    check(sum(gray) >= 0.95 * len(gray) and not page.hover(*point)[0], f"without structures, {sum(gray)} of {len(gray)} points are gray")
    page.set("structure-search", "vertebrae")
    page.click("#all")
    page.set("structure-search", "")
    browser.screenshot(file("some"))
    on = page.value("[...document.querySelectorAll('#structures li')].filter(row => row.querySelector('input').checked).map(row => row.dataset.name)")
    check(on == [name for name in named if "vertebrae" in name], f"a search and `all` show {len(on)} structures")
    page.click("#all")


def check_windows(page, browser, file):
    """Nothing overlaps or is cut off in windows of other sizes."""
    for width, height in ((900, 400), (700, 600), (360, 640), (1280, 800)):
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        browser.wait(f"document.getElementById('canvas').clientWidth <= {width}", 10)
        wide = page.value("document.documentElement.scrollWidth")
        overlaps = page.value("""(() => {
            const parts = [...document.querySelectorAll('aside > *')].filter((part) => !part.hidden);
            const boxes = parts.map((part) => [part, ...part.querySelectorAll('h2, ol, ul, label, input[type=search], p')]
                .map((box) => box.getBoundingClientRect()).filter((box) => box.height));
            const bottoms = boxes.map((inside) => Math.max(...inside.map((box) => box.bottom)));
            return boxes.slice(1).filter((inside, at) => inside[0].top < bottoms[at] - 1).length;
        })()""")
        heights = page.value("['cases', 'structures'].map((id) => document.getElementById(id).clientHeight)")
        check(wide <= width and not overlaps and min(heights) >= 24, f"{width}×{height}: {wide} wide, {overlaps} overlaps, lists {heights} high")
        browser.screenshot(file(f"{width}x{height}"))


def check_mr(program, browser):
    """An image without values below 0 is no CT: no HU, no windows of CT."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mr.nii")
        # NIfTI-1: 16 × 16 × 16 voxels of int16, 2 mm.
        header = struct.pack("<i36x8h14xhh2x8f3f", 348, 3, 16, 16, 16, 1, 1, 1, 1, 4, 16, 1, 2, 2, 2, 1, 1, 1, 1, 352, 1, 0)
        voxels = struct.pack("<4096h", *(i * 37 % 900 for i in range(4096)))
        with open(path, "wb") as out:
            out.write(header.ljust(344, b"\0") + b"n+1\0" + bytes(4) + voxels)
        server = subprocess.Popen([program, "-q", "view", path], stdout=subprocess.PIPE, text=True)
        page = Page(browser, server.stdout.readline().strip())
        status = page.text("status")
        check(re.match(r"\d+  ·  [RL] ", status), f"an MR image has no unit: {status}")
        check(page.value("document.getElementById('window').parentElement.hidden"), "and no windows in HU")
        server.send_signal(signal.SIGINT)
        server.wait(5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="*", default=[os.path.join(ROOT, "eval/demo")])
    parser.add_argument("--screenshots", metavar="DIR")
    args = parser.parse_args()
    program = os.path.join(ROOT, "target/release/segbundle")
    file = lambda name: args.screenshots and os.path.join(args.screenshots, f"{name}.png")
    if args.screenshots:
        os.makedirs(args.screenshots, exist_ok=True)
    server = subprocess.Popen([program, "view", *args.paths], stdout=subprocess.PIPE, text=True)
    url = server.stdout.readline().strip()
    if not url:
        sys.exit(server.wait())
    for dark in (True, False):
        browser = Browser(dark)
        started = time.time()
        page = Page(browser, url)
        print(f"{'dark' if dark else 'light'}: shown after {time.time() - started:.1f} s")
        if dark:
            files = json.load(urllib.request.urlopen(url + "cases.json"))["cases"]
            check([case["name"] for case in files] == page.cases(), f"{len(files)} cases are listed")
            with tempfile.TemporaryDirectory() as folder:
                paths = []
                for role in ("labels", "image"):
                    paths.append(os.path.join(folder, role + "-" + files[0][role]["name"]))
                    urllib.request.urlretrieve(f"{url}stored/{files[0][role]['id']}", paths[-1])
                rows = statistics(program, *paths)
            check_case(page, browser, rows, file)
            check_windows(page, browser, file)
            check_mr(program, browser)
            page = Page(browser, url)
        for at in range(min(3, len(page.cases()))):
            page.click("#cases button", at)
            page.wait_until_shown()
        browser.screenshot(file("dark" if dark else "light"))
        back = browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        check((max(back) < 60) == dark, f"{'dark' if dark else 'light'} background {back}")
        check(not browser.problems, f"no errors, no other hosts {browser.problems or ''}")
        browser.close()
    for path in ("stored/9999", "stored/..%2f..%2fetc%2fpasswd", "../../../etc/passwd"):
        try:
            check(urllib.request.urlopen(url + path).status == 404, f"{path} is refused")
        except urllib.error.HTTPError as error:
            check(error.code == 404, f"{path} is refused")
    server.send_signal(signal.SIGINT)
    check(server.wait(5) == 0, "an interrupt ends the server")
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
