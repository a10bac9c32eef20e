"""notices.py TRIPLE: the notices of all libraries that are linked into lbam-edge, on stdout.

Most of their licences ask that the notice goes where the program goes. Texts that several
libraries share word for word are printed once.
"""

import json
import pathlib
import subprocess
import sys

NAMES = ("licen", "copying", "copyright", "notice", "unlicense")

triple = sys.argv[1]
command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple]
metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

# What is used to build only, and macros, leave no code of their own in the program.
linked, ahead = set(), [metadata["resolve"]["root"]]
while ahead:
    here = ahead.pop()
    kinds = {kind for target in packages[here]["targets"] for kind in target["kind"]}
    if here in linked or "proc-macro" in kinds:
        continue
    linked.add(here)
    for dependency in nodes[here]["deps"]:
        if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
            ahead.append(dependency["pkg"])
linked.remove(metadata["resolve"]["root"])

texts = {}
for package in sorted((packages[id] for id in linked), key=lambda package: package["name"]):
    name = f"{package['name']} {package['version']}"
    folder = pathlib.Path(package["manifest_path"]).parent
    print(f"{name}: {package['license']}; {', '.join(package['authors']) or 'its authors'}")
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.lower().startswith(NAMES):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            texts.setdefault(text, []).append(name)
for text, names in texts.items():
    print("\n" + "=" * 80 + "\n" + ", ".join(names) + "\n" + "-" * 80 + "\n" + text)
