"""Touches things while it is watched, and shows what was seen; runs on a Python beside which nothing is installed."""

import asyncio
import copy
import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import types

sdk, catalog = sys.argv[1:3]
sys.path[:0] = [sdk, catalog]
# Not its `__init__`, which imports what may not be installed here.
package = types.ModuleType("whence")
package.__path__ = [f"{sdk}/whence"]
sys.modules["whence"] = package

from whence import reads  # noqa: E402
from whence_catalog import model, observation  # noqa: E402


class Late:
    """Touches things as Python ends."""

    def __del__(self) -> None:
        with open("late"):
            os.environ.get("LATE")


async def touch() -> None:
    with open("a"):
        pass
    thread = threading.Thread(target=os.listdir, args=("folder",))
    thread.start()
    thread.join()
    await asyncio.to_thread(os.environ.get, "COLOUR")
    subprocess.run([sys.executable, "-c", ""], check=True)
    with socket.socket(type=socket.SOCK_DGRAM) as caller:
        caller.sendto(b"x", ("127.0.0.1", 9))
    copy.deepcopy([{}])
    with open("made", "w") as file:
        file.write("x")
    with open("made"):
        pass


files, folders = reads._of_python()
cover = observation.Cover(os.getcwd(), files, folders)
kept = Late()
sys.kept = kept  # type: ignore[attr-defined]
with reads.watched(model.Watching.NOTE, cover) as watch:
    asyncio.run(touch())
assert type(os.environ) is os._Environ
seen = dataclasses.asdict(watch.seen())
print(json.dumps({name: seen[name] for name in ("files", "sockets", "subprocesses", "variables")}))
