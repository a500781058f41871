"""Two requests of 3 s; timeout=99 in a text or a comment counts for nothing.

requests.get(url, timeout=98)
"""
import requests

# requests.get(url, timeout=97)
interval = 30
POLL = dict(timeout=96, interval=95)
a = requests.get("http://localhost/a?timeout=94", timeout=3)
b = requests.get(
    "http://localhost/b",  # timeout=93
    timeout=3,
)
