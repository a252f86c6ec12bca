"""browser.py - a real Chromium, headless, driven by the WebDriver protocol over HTTP. Nothing to install
but Debian's chromium and chromium-driver.

Browser(dark=False, javascript=True): starts one; .close() ends all its processes
    .open(url) waits until it is loaded; .run(script, *args) runs JavaScript in the page, → its result
    .url();  .text(css) of the first match;  .count(css), .found(css) without JavaScript;  .click(css), .type(css, text), .press(key) as a person
    .until(script, text, *args, timeout=20) waits until the script's result is true and returns it
    .errors() → what the console has said that is an error, and forgets it
    .shot(name) keeps a picture beside the test's log;  .size(width, height)
    .dark(bool), .prefer(feature, value): what people prefer, from now on;  .shown(css);  .picture() → PNG
"""

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import time

from harness import Failure, check, diag, elapsed, eventually, fail, temp_dir

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Escape": "\ue00c", "ArrowDown": "\ue015", "ArrowUp": "\ue013", "Enter": "\ue007",
        "Tab": "\ue004"}
DEADLINE = 60.0  # of each command: a machine may be busy


def program(name):
    path = shutil.which(name)
    check(path, f"{name} is missing: apt-get install chromium chromium-driver")
    return path


class Browser:
    def __init__(self, dark=False, javascript=True):
        self.port = self._free_port()
        self.dir = temp_dir()
        env = {**os.environ, "HOME": self.dir, "XDG_CONFIG_HOME": self.dir,
               "XDG_CACHE_HOME": self.dir}
        # All of it goes with the test, however that ends: they share a session, and a pipe.
        self.driver = subprocess.Popen(
            ["sh", "-c", '"$1" --port="$2" <&- & read -r _; pkill -KILL -s $$', "sh",
             program("chromedriver"), str(self.port)], env=env, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.session = None
        try:
            self._start(dark, javascript)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _free_port():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def _start(self, dark, javascript):
        def ready():
            try:
                return self._ask("GET", "/status")["ready"]
            except OSError:
                check(self.driver.poll() is None, "chromedriver has ended")
                return False

        took = elapsed()
        eventually(ready, DEADLINE, "chromedriver does not answer")
        diag(f"chromedriver: {took():.1f} s")
        args = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--no-first-run", "--disable-extensions", "--disable-background-networking",
                "--window-size=1280,900", "--hide-scrollbars", f"--user-data-dir={self.dir}/profile"]
        prefs = {} if javascript else {"profile.managed_default_content_settings.javascript": 2}
        options = {"binary": program("chromium"), "args": args, "prefs": prefs}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL"},
                  "timeouts": {"pageLoad": int(DEADLINE * 1000), "script": int(DEADLINE * 1000)}}
        self.session = self._ask("POST", "/session",
                                 {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        diag(f"Chromium: {took():.1f} s")
        if dark:
            self.dark(True)

    def _ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            data = json.dumps(body).encode() if body is not None else None
            c.request(method, path, data, {"Content-Type": "application/json"})
            answer = c.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            c.close()
        if answer.status != 200:
            raise Failure(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def _do(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    def close(self):
        if self.session:
            try:
                self._do("DELETE", "")
            except (OSError, Failure):
                pass  # it is killed below
        self.driver.stdin.close()
        self.driver.wait()

    def open(self, url):
        self._do("POST", "/url", {"url": url})

    def run(self, script, *args):
        return self._do("POST", "/execute/sync", {"script": script, "args": list(args)})

    def until(self, script, text, *args, timeout=20):
        return eventually(lambda: self.run(script, *args), timeout, text)

    def text(self, css):
        return self.run("const e = document.querySelector(arguments[0]);"
                        "return e ? e.textContent : null", css)

    def count(self, css):
        return self.run("return document.querySelectorAll(arguments[0]).length", css)

    def _find(self, css):
        return self._do("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def _again(self, action):
        """The page may be changing under the hand, as it may under a person's."""
        for left in reversed(range(20)):
            try:
                return action()
            except Failure as e:
                if left == 0 or not any(x in str(e) for x in ("stale element", "intercepted")):
                    raise
                time.sleep(0.1)
        return fail("never")

    def url(self):
        return self._do("GET", "/url")

    def found(self, css):
        """As count(), without JavaScript."""
        return len(self._do("POST", "/elements", {"using": "css selector", "value": css}))

    def click(self, css):
        self._again(lambda: self._do("POST", f"/element/{self._find(css)}/click", {}))

    def type(self, css, text):
        self._again(lambda: self._do("POST", f"/element/{self._find(css)}/value", {"text": text}))

    def press(self, key):
        value = KEYS.get(key, key)
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]}]})

    def errors(self):
        return [x["message"] for x in self._do("POST", "/se/log", {"type": "browser"})
                if x["level"] == "SEVERE"]

    def size(self, width, height):
        self._do("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}})

    def prefer(self, name, value):
        """A media feature; the others are as they are by default."""
        self._do("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setEmulatedMedia",
            "params": {"features": [{"name": name, "value": value}]}})

    def dark(self, dark):
        self.prefer("prefers-color-scheme", "dark" if dark else "light")

    def shown(self, css):
        """Whether a person sees it; without JavaScript, too."""
        return self._do("GET", f"/element/{self._find(css)}/displayed")

    def picture(self):
        """What is seen, as PNG."""
        return base64.b64decode(self._do("GET", "/screenshot"))

    def shot(self, name):
        place = os.path.join(os.environ["top_builddir"], "tests/e2e/shots")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, name + ".png"), "wb") as f:
            f.write(self.picture())
