#!/usr/bin/env python3
"""browser.py URL [SCREENSHOT]: paints a mask on the page in Chromium, as somebody with a mouse would.

Is not to paint over what somebody else saved meanwhile.
Draws a box, takes a corner away with the eraser, and saves.
Who paints again must begin with what was saved, or not at all.
A palm does not disturb a pen, and nobody does while the mask is being saved.
Speaks WebDriver to chromedriver; needs nothing but Python.
"""

import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PATIENCE = 30


def until(what, ready):
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            sys.exit(f"browser.py: after {PATIENCE} s still not so: {what}")
        time.sleep(0.1)


class Browser:
    def __init__(self):
        # It says on which free port it listens.
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.address = f"http://127.0.0.1:{int(line.split()[-1].rstrip('.'))}/session"
                break
        else:
            sys.exit("browser.py: chromedriver does not start")

    def open(self, url):
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        arguments += ["--disable-background-networking", "--no-first-run", "--window-size=1000,1000"]
        always = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        answer = self.ask("", {"capabilities": {"alwaysMatch": always}})
        self.address += "/" + answer["sessionId"]
        self.ask("/url", {"url": url})

    def ask(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            sys.exit(f"browser.py: {path}: {json.load(error)['value']['message']}")

    def run(self, script):
        return self.ask("/execute/sync", {"script": f"return {script}", "args": []})

    def find(self, selector):
        return self.ask("/element", {"using": "css selector", "value": selector})

    def click(self, selector):
        self.ask(f"/element/{self.find(selector)[ELEMENT]}/click", {})

    def drag(self, start, end, palm=None):
        """On the canvas; places as shares of its width and height. Beside a palm, with a pen."""
        canvas = self.find("#canvas")
        box = self.ask(f"/element/{canvas[ELEMENT]}/rect")

        def move(place):
            # From the middle of the element.
            x, y = (round((at - 0.5) * box[side]) for at, side in zip(place, ("width", "height")))
            return {"type": "pointerMove", "duration": 100, "origin": canvas, "x": x, "y": y}

        down, up = ({"type": f"pointer{what}", "button": 0} for what in ("Down", "Up"))

        def pointer(kind, steps):
            return {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": steps}

        pause = {"type": "pause"}
        hand = [pointer("mouse", [move(start), down, move(end), up])]
        if palm:
            hand = [pointer("pen", [move(start), down, pause, move(end), up])]
            hand += [pointer("touch", [move(palm), pause, down, pause, up])]
        self.ask("/actions", {"actions": hand})

    def is_painted(self, x, y):
        place = f"canvas.width * {x}, canvas.height * {y}, 1, 1"
        return self.run(f"brush.getImageData({place}).data[3]") > 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.ask("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.wait()


def main():
    url, screenshot = sys.argv[1], sys.argv[2:]
    with Browser() as browser:
        browser.open(url)
        until("there is a picture", lambda: browser.run("at('live').naturalWidth"))
        until("the page offers to paint", lambda: browser.run("!at('paint').hidden"))
        browser.click("#paint")
        until("there is a canvas", lambda: browser.run("!at('canvas').hidden"))
        browser.drag((0.1, 0.1), (0.2, 0.2))
        # Somebody else paints meanwhile.
        drawn = "new OffscreenCanvas(64, 48)"
        other = f"(drawn => (drawn.getContext('2d'), drawn.convertToBlob()))({drawn})"
        browser.run(f"{other}.then(body => fetch('mask', {{ method: 'PUT', body }})).then(() => 1)")
        browser.click("#save")
        until("it is told", lambda: "somebody else" in browser.run("at('said').textContent"))
        browser.click("#cancel")
        browser.click("#paint")
        until("there is a canvas anew", lambda: browser.run("!at('canvas').hidden"))
        browser.click("input[value=box]")
        browser.drag((0.25, 0.25), (0.75, 0.75))
        browser.click("input[value=eraser]")
        browser.drag((0.7, 0.7), (0.8, 0.8))
        if screenshot:
            with open(screenshot[0], "wb") as file:
                file.write(base64.b64decode(browser.ask("/screenshot")))
        # Another box by mistake.
        browser.click("input[value=box]")
        browser.drag((0.05, 0.05), (0.15, 0.15))
        browser.click("#undo")
        for button in ["#clear", "#clear", "#undo"]:
            browser.click(button)
        if not browser.is_painted(0.3, 0.3):
            sys.exit("browser.py: a second tap on clear takes away what was painted for good")
        browser.drag((0.85, 0.85), (0.95, 0.95), palm=(0.9, 0.1))
        if not browser.is_painted(0.9, 0.9):
            sys.exit("browser.py: a palm takes away what the pen paints")
        browser.click("#undo")
        browser.run("window.ask = fetch")
        wait = "all[1]?.method ? new Promise(go => window.go = go) : Promise.resolve()"
        browser.run(f"window.fetch = (...all) => ({wait}).then(() => ask(...all))")
        browser.click("#save")
        until("it is being saved", lambda: browser.run("!!window.go"))
        browser.drag((0.05, 0.05), (0.15, 0.15))
        if browser.is_painted(0.1, 0.1):
            sys.exit("browser.py: what is painted while the mask is saved is lost")
        browser.run("(window.fetch = ask, go())")
        until("the mask is saved", lambda: browser.run("at('canvas').hidden"))
        until("pictures come", lambda: browser.run("at('state').textContent") == "running")
        browser.click("#paint")
        until("there is a canvas again", lambda: browser.run("!at('canvas').hidden"))
        if not browser.is_painted(0.3, 0.3):
            sys.exit("browser.py: the canvas is offered without the mask that there is")
        browser.click("#cancel")
        # The stream's connection is cut: the picture comes again by itself.
        browser.run("live.src = 'data:,'")
        until("the picture is gone", lambda: not browser.run("live.naturalWidth"))
        until("the picture comes again", lambda: browser.run("live.naturalWidth"))
        browser.run("window.fetch = async () => new Response('no luck', { status: 500 })")
        browser.click("#paint")
        until("it is told", lambda: "no luck" in browser.run("at('said').textContent"))
        if not browser.run("at('canvas').hidden"):
            sys.exit("browser.py: a mask that cannot be loaded may be painted over")


if __name__ == "__main__":
    main()
