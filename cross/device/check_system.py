"""Looks at what the emulated device's service wrote: check_system.py FOLDER

FOLDER holds the results of system-test.sh. Every check prints a line that begins with "ok " or
"FAILED "; the last line counts frames. Pictures to look at go to FOLDER/pictures. Needs ffmpeg.
"""

import json
import shutil
import subprocess
import sys

from check import HEIGHT, JPEG_LEVELS, WIDTH, Results, distance, rgb, split

# The ground of placeholders, and the share of a picture it takes at least.
GROUND = 40
GROUND_SHARE = 0.8

results = Results(sys.argv[1])
folder, check = results.folder, results.check
command = f"ffmpeg -v error -f rawvideo -pix_fmt yuyv422 -s {WIDTH}x{HEIGHT} -i {folder}/camera.raw"
camera = results.pictures / "camera.png"
subprocess.run([*command.split(), "-y", str(camera)], check=True)
camera_outside, camera_inside = split(rgb(camera), WIDTH, HEIGHT, 3)
statistics = []
for name in ("before", "after", "restarted"):
    shutil.copy(folder / f"{name}.jpg", results.pictures)
    statistics.append(json.loads((folder / f"{name}.json").read_text()))
    outside, inside = split(rgb(folder / f"{name}.jpg"), WIDTH, HEIGHT, 3)
    # Two conversions from YUV, one of them ffmpeg's, lie between the two.
    levels = distance(outside, camera_outside)
    check(f"{name}: known pixels are the camera's ({levels:.2f} levels)", levels < 4 * JPEG_LEVELS)
    levels = distance(inside, camera_inside)
    check(f"{name}: the hole is not what the camera saw ({levels:.1f} levels)", levels > 10)
    check(f"{name}: the hole is not flat", len(set(inside)) > 8, len(set(inside)))
check("no hole was painted flat", all(one["flat"] == 0 for one in statistics))
shutil.copy(folder / "placeholder.jpg", results.pictures)
placeholder = rgb(folder / "placeholder.jpg")
share = sum(abs(value - GROUND) <= 3 for value in placeholder) / len(placeholder)
check(f"the placeholder is words on grey ({share:.0%} of it ground)", GROUND_SHARE < share < 1)
results.end(
    captured=statistics[1]["captured"] + statistics[2]["captured"],
    filled=statistics[1]["filled"] + statistics[2]["filled"],
    served=4,
)
