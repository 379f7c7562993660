#!/usr/bin/env python3
"""Time passes for a backup directory that nobody is at work in: older.py DIRECTORY DAYS. Every set and every line of its history becomes
older by so many days, as if it had been written then. Digests are made to match, so that all of it is what backupd would have left."""

import hashlib
import os
import re
import sys
from datetime import datetime, timedelta

root, days = sys.argv[1], timedelta(days=int(sys.argv[2]))
SET = re.compile(r"\b\d{8}T\d{6}Z\b")
# When a directory was made is a fact about the source.
TIME = re.compile(r'(?<!"born": ")(?<!"born":")\b(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?=(\.\d+)?Z)')


def moved(form):
    return lambda match: (datetime.strptime(match[0], form) - days).strftime(form)


def rewrite(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = SET.sub(moved("%Y%m%dT%H%M%SZ"), text)
    text = TIME.sub(moved("%Y-%m-%dT%H:%M:%S"), text)
    # In place: owner and mode stay.
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return text.encode()


private = os.path.join(root, ".backupd")
drills = os.path.join(private, "drills")
for name in ("history.jsonl", "accepted.json"):
    if os.path.exists(os.path.join(private, name)):
        rewrite(os.path.join(private, name))
for name in sorted(os.listdir(drills)) if os.path.isdir(drills) else []:
    rewrite(os.path.join(drills, name))
    os.rename(os.path.join(drills, name), os.path.join(drills, SET.sub(moved("%Y%m%dT%H%M%SZ"), name)))
for name in sorted(filter(SET.fullmatch, os.listdir(root))):
    manifest = rewrite(os.path.join(root, name, "manifest.json"))
    sums = os.path.join(root, name, "SHA256SUMS")
    with open(sums, encoding="utf-8") as file:
        lines = [line for line in file if not line.endswith("  manifest.json\n")]
    with open(sums, "w", encoding="utf-8") as file:
        file.writelines([*lines, f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n"])
    os.rename(os.path.join(root, name), os.path.join(root, SET.sub(moved("%Y%m%dT%H%M%SZ"), name)))
