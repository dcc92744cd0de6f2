"""A headless Chromium, driven by Debian's chromedriver, for the scripts that look at the dashboard.

The tests in Tests/DashboardTests have a client of their own, in Swift.
"""

import base64
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


class Browser:
    """A browser with one tab. It ends with its driver, whose end closes the pipe between them."""

    def __init__(self, origin, width=1440, height=900):
        self.origin = origin
        self.folder = tempfile.TemporaryDirectory(prefix="jobledger-browser-", ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "HOME": self.folder.name, "LANG": "C.UTF-8", "TZ": "UTC"})
        mark = "started successfully on port "
        line = next((line for line in self.driver.stdout if mark in line), None)
        if line is None:
            raise RuntimeError("chromedriver did not start")
        self.address = "http://127.0.0.1:" + line.split(mark)[1].strip().rstrip(".")
        arguments = [
            "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--hide-scrollbars", f"--user-data-dir={self.folder.name}/profile",
            f"--window-size={width},{height}"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        self.session = ""
        answer = self.send("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self.session = "/session/" + answer["sessionId"]
        self.send("POST", "/timeouts", {"script": 1_200_000, "pageLoad": 120_000})
        self.size(width, height)

    def send(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(
            self.address + self.session + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            return json.load(urllib.request.urlopen(request, timeout=1500))["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"].split("\n")[0]) from None

    def chromium(self, command, parameters=None):
        """A command of Chromium's own protocol."""
        return self.send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters or {}})

    def open(self, path):
        self.send("POST", "/url", {"url": self.origin + path})

    def run(self, script, *given):
        """Runs the body of a function in the page, which may await."""
        text = """const given = [...arguments], done = given.pop()
            const body = async () => { %s }
            body().then(value => done({ value }), error => done({ error: String(error) }))""" % script
        answer = self.send("POST", "/execute/async", {"script": text, "args": list(given)})
        if "error" in answer:
            raise RuntimeError(f"{answer['error']}, in: {script}")
        return answer.get("value")

    def until(self, what, script, *given, limit=120):
        """Waits until a script returns something that holds."""
        deadline, last = time.monotonic() + limit, None
        while time.monotonic() < deadline:
            try:
                value = self.run(script, *given)
                if value:
                    return value
            except RuntimeError as error:
                last = error
            time.sleep(0.05)
        raise RuntimeError(f"not within {limit} s: {what} ({last})")

    def sign_in(self, token):
        self.open("/dashboard/icon.svg")
        self.run("""const headers = { "Content-Type": "application/json" }
            const body = JSON.stringify({ token: given[0] })
            const answer = await fetch("/v1/session", { method: "POST", headers, body })
            if (!answer.ok) throw new Error(`signing in: ${answer.status}`)""", token)

    def size(self, width, height, scale=1):
        self.chromium("Emulation.setDeviceMetricsOverride",
                      {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False})

    def prefer(self, dark):
        self.chromium("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.send("GET", "/screenshot")))

    def end(self):
        try:
            self.send("DELETE", "")
        except (OSError, RuntimeError):
            pass
        self.driver.terminate()
        self.driver.wait()
        self.folder.cleanup()


def settings(directory):
    """The settings that `jobledger up` has written to DIR/env."""
    with open(os.path.join(directory, "env"), encoding="utf-8") as file:
        lines = [line.rstrip("\n").partition("=") for line in file if not line.startswith("#")]
    return {name: value for name, _, value in lines}
