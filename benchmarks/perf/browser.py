"""A headless Chromium that opens a page, runs a script in it and says what the script found; nothing is installed."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
# Errors are kept from the first line on; what the script returns stands in the page as JSON when it is done.
BEFORE = """<script>
window.failures = [];
addEventListener("error", event => failures.push(String(event.message)));
addEventListener("unhandledrejection", event => failures.push(String(event.reason)));
</script>"""
AFTER = """<script>
(async () => {
  const done = found => {
    const element = document.createElement("pre");
    element.id = "found";
    element.textContent = JSON.stringify({ found, failures });
    document.documentElement.append(element);
  };
  try { done(await (async () => { SCRIPT })()); } catch (error) { failures.push(String(error)); done(null); }
})();
</script>"""


def path() -> str | None:
    """Of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def ask(
    page: Path,
    script: str,
    *,
    width: int = 1280,
    hash: str = "",
    is_real_time: bool = False,
    timeout: float = 120.0,
) -> tuple[Any, list[str]]:
    """What a script returns in a copy of a page, and the errors that the page and it made.

    Args:
        script: body of an async function.
        width: of the window in pixels; a headless Chromium has at least 500.
        hash: of the address, with its `#`.
        is_real_time: whether its clock is the machine's, for measurements; the script must not wait for anything then.
    """
    copy = page.with_name(f"asked-{page.name}")
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{BEFORE}", 1)
    copy.write_text(text + AFTER.replace("SCRIPT", script), encoding="utf-8")
    clock = [] if is_real_time else ["--virtual-time-budget=5000"]
    dump = started(copy.resolve().as_uri() + hash, "--dump-dom", *clock, width=width, timeout=timeout)
    found = re.search(r'<pre id="found">(.*?)</pre>', dump, re.DOTALL)
    if not found:
        raise RuntimeError(f"no answer from {copy}: {dump[:300]!r} ... {dump[-300:]!r}")
    answer = json.loads(html.unescape(found[1]))
    return answer["found"], answer["failures"]


def started(address: str, *what: str, width: int = 1280, height: int = 900, timeout: float = 120.0) -> str:
    """Open an address in a browser with an empty profile; returns what it prints.

    Args:
        what: `--dump-dom`, or a screenshot, and how long to wait for it.
    """
    browser = path()
    if browser is None:
        raise RuntimeError(f"none of {', '.join(NAMES)} is on the path")
    profile = Path(tempfile.mkdtemp(prefix="browser-"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *QUIET]
    command += [f"--user-data-dir={profile}", f"--window-size={width},{height}"]
    try:
        done = subprocess.run([*command, *what, address], capture_output=True, timeout=timeout, check=True)
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    return done.stdout.decode(errors="replace")
