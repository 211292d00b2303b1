"""Every module imports and works on Windows and macOS, as far as Linux can pretend to be them.

Libraries are loaded as they are; luna is then loaded anew in a process that lacks what the other
system lacks.
"""

import subprocess
import sys

import pytest

LOAD_ALL = """
import importlib, pkgutil, sys

def load_all():
    import luna
    names = [m.name for m in pkgutil.walk_packages(luna.__path__, "luna.")]
    for name in names:
        if name != "luna.__main__":
            importlib.import_module(name)
    return len(names)

load_all()
for name in [n for n in sys.modules if n.partition(".")[0] == "luna"]:
    del sys.modules[name]
"""

WINDOWS = """
import errno, fcntl, os, signal, types

def locking(handle, mode, count):
    assert (mode, count) == (2, 1) and os.lseek(handle, 0, os.SEEK_CUR) > 1 << 20
    try:
        flock(handle, flags)
    except BlockingIOError as error:
        raise PermissionError(errno.EACCES, "locked") from error

flock, flags = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for owner, names in {
    os: "sysconf pread O_NOFOLLOW O_CLOEXEC O_NONBLOCK geteuid getuid sched_getaffinity fchmod",
    signal: "SIGHUP SIGPIPE SIGKILL",
}.items():
    for name in names.split():
        delattr(owner, name)
sys.platform = "win32"
system_open = os.open

def no_folders(path, flags, *rest, **options):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return system_open(path, flags, *rest, **options)

os.open = no_folders
"""

MACOS = """
import ctypes, os
del os.sched_getaffinity
ctypes.CDLL = None
sys.platform = "darwin"
"""

WORK = """
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
assert load_all() > 150
from luna.ct.blocks import BlockFile, grid_of, pack_blocks
from luna.ct.cache import Cache
from luna.data.prep.plan import default_workers
from luna.data.prepared import open_volumes
from luna.run.errors import UsageError
from luna.run.files import replace_file
from luna.run.folders import held_folder
from luna.run.machine.inspection import inspect_machine
from luna.run.machine.memory import keep_freed_memory

keep_freed_memory()
machine = inspect_machine()
assert machine.cores >= 1 and not machine.missing, machine.missing
assert default_workers() >= 1
assert 1 <= open_volumes() <= 2048
out = Path(sys.argv[1], "out")
with held_folder(out, force=False, warn=print):
    with replace_file(out / "a.json") as temporary:
        temporary.write_text("whole")
    try:
        with held_folder(out, force=True, warn=print):
            raise SystemExit("a second run came in")
    except UsageError as error:
        assert "another run is writing into this folder" in str(error), error
assert [p.name for p in out.iterdir()] == ["a.json"]

hu = np.arange(8 * 30 * 30, dtype=np.int16).reshape(8, 30, 30)
cache = Cache(Path(sys.argv[1], "cache"), create=True)
Cache(Path(sys.argv[1], "cache"), create=True).close()
wanted = np.ones(grid_of(hu.shape), bool)
cache.put("hu", pack_blocks(hu, wanted, 0, sparse=False, block_irc=(8, 24, 24)))
file = BlockFile(cache.path("hu"))
with ThreadPoolExecutor(8) as pool:
    boxes = list(pool.map(lambda k: file.box((0, k % 20, 0), (8, 10, 30)), range(200)))
assert all((box == hu[:, k % 20 : k % 20 + 10]).all() for k, box in enumerate(boxes))
cache.sweep()
assert cache.get("hu") is not None
cache.close()
print("works")
"""


@pytest.mark.parametrize("system", [WINDOWS, MACOS], ids=["windows", "macos"])
def test_every_module_loads_and_files_are_locked_written_and_read(tmp_path, system):
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL + system + WORK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "works\n"), done.stderr
