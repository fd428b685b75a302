"""Kill the writer of the interaction log, or cut its power, and count what was acknowledged and is lost.

    python -m tests.interactions_kills --kills 100 --cuts 20 [--seed 0]

A child process appends from four threads, erases a user now and then, and says what was acknowledged. It is killed
after a random number of acknowledgements, or by strace in the middle of a system call. A power cut: the log is on an ext4
in a loop file; the child is stopped, the file copied, the copy mounted: what only the page cache held is gone (needs
root).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ragkeep.interactions import InteractionLog, read
from ragkeep.interactions.segments import open_paths, sealed_paths
from tests.interaction_cases import a_vote, an_answer

SEGMENT_BYTES = 30_000
CALLS = ["pwrite64", "fdatasync", "fsync", "rename", "ftruncate", "openat", "unlink"]


def child(folder: Path, run: str) -> None:
    """Append until killed, at most 400 records a thread; every line is written after the acknowledgement."""
    with InteractionLog(folder, segment_bytes=SEGMENT_BYTES) as log:
        threads = [threading.Thread(target=_append, args=(log, f"{run}-{n}")) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _append(log: InteractionLog, who: str) -> None:
    for n in range(400):
        user, answer = f"{who}-{n // 30}", f"{who}.{n}"
        record = an_answer(answer, f"question {answer}" * 10, user=user) if n % 2 else a_vote(answer, user=user)
        _say(f"ack {log.append(record)} {user} {answer}")
        if n % 30 == 29 and who.endswith("-0"):
            _say(f"erasing {user}")
            log.erase("user", user)
            _say(f"erased {user}")


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


@dataclass
class Ledger:
    """What was acknowledged: sequence number -> (user, answer id), and who was or may have been erased."""

    acknowledged: dict[int, tuple[str, str]] = field(default_factory=dict)
    erasing: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    twice: int = 0

    def note(self, line: str) -> bool:
        """Take down a line of the child; whether it is an acknowledgement."""
        what, *rest = line.split()
        if what != "ack":
            (self.erasing if what == "erasing" else self.erased).add(rest[0])
            return False
        self.twice += int(rest[0]) in self.acknowledged
        self.acknowledged[int(rest[0])] = (rest[1], rest[2])
        return True

    def check(self, folder: Path) -> dict[str, int]:
        """Open the log as the next process would, and compare."""
        InteractionLog(folder, segment_bytes=SEGMENT_BYTES).close()
        kept = {record.seq: (record.user, record.answer) for record in read(folder)}
        due = {seq: what for seq, what in self.acknowledged.items() if what[0] not in self.erasing}
        on_disk = b"".join(path.read_bytes() for path in (*sealed_paths(folder), *open_paths(folder)))
        return {
            "acknowledged": len(self.acknowledged),
            "lost": sum(kept.get(seq) != what for seq, what in due.items()),
            "numbers_twice": self.twice,
            "erased_users": len(self.erased),
            "erased_but_there": sum(f'"{user}"'.encode() in on_disk for user in self.erased),
        }


def start(folder: Path, run: str, *, strace: tuple[str, int] | None = None) -> subprocess.Popen[str]:
    """Start a child, under strace with (system call, at which of its calls it is killed)."""
    command = [sys.executable, "-m", "tests.interactions_kills", "--child", str(folder), "--run", run]
    if strace:
        call, when = strace
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}"]
        command = ["strace", "-f", "-qq", "-o", "/dev/null", *inject, *command]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_once(folder: Path, ledger: Ledger, run: str, chance: random.Random) -> bool:
    """Run a child until it is killed; False where it came to its end before."""
    traced = shutil.which("strace") is not None and chance.random() < 0.5
    call = chance.choice(CALLS)
    # a program opens some 300 files before it writes; the rare calls come with sealing and erasing
    when = (
        chance.randint(250, 600) if call == "openat" else chance.randint(1, 60 if call.startswith(("pw", "fd")) else 12)
    )
    process = start(folder, run, strace=(call, when) if traced else None)
    assert process.stdout is not None
    left = chance.randint(1, 200)
    for line in process.stdout:
        left -= ledger.note(line) if line.endswith("\n") else 0
        if left <= 0 and not traced:
            process.kill()
            left = 1_000_000
    process.communicate()
    return process.returncode != 0


def kills(folder: Path, count: int, *, seed: int = 0) -> dict[str, int]:
    """Kill `count` children one after the other on one log; check after each."""
    chance, ledger, done, run = random.Random(seed), Ledger(), 0, 0
    found: dict[str, int] = {}
    while done < count:
        run += 1
        done += kill_once(folder, ledger, f"k{run}", chance)
        found = ledger.check(folder)
        if found["lost"] or found["erased_but_there"]:
            break
    return {"kills": done, **found}


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """Mount an ext4 image; the kernel writes to it by itself as seldom as can be."""
    subprocess.run(["mount", "-o", "loop,commit=300", image, place], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True, capture_output=True)


def cut_once(image: Path, place: Path, ledger: Ledger, run: str, chance: random.Random) -> Path:
    """Cut the power in the middle of writing; return the image as the disk held it."""
    after = image.with_name(f"{run}.img")
    with mounted(image, place):
        process = start(place / "log", run)
        assert process.stdout is not None
        left = chance.randint(20, 250)
        for line in process.stdout:
            left -= ledger.note(line)
            if left <= 0:
                break
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        shutil.copyfile(image, after)
        process.kill()
        for line in process.communicate()[0].splitlines():  # said before it was stopped
            ledger.note(line)
    image.unlink()
    return after


def cuts(work: Path, count: int, *, seed: int = 0) -> dict[str, int]:
    """Cut the power `count` times, each time going on with what the disk held; check after each."""
    chance, ledger, found = random.Random(seed), Ledger(), dict[str, int]()
    image, place = work / "first.img", work / "mnt"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    done = 0
    for done in range(1, count + 1):
        image = cut_once(image, place, ledger, f"p{done}", chance)
        with mounted(image, place):
            found = ledger.check(place / "log")
        if found["lost"] or found["erased_but_there"]:
            break
    return {"power_cuts": done, **found}


def why_no_mounts() -> str:
    """Say why an ext4 in a loop file cannot be mounted here; empty where it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount") if shutil.which(tool) is None]
    if missing:
        return f"there is no {' and no '.join(missing)}"
    with tempfile.TemporaryDirectory() as work, suppress(OSError):
        image, place = Path(work) / "try.img", Path(work) / "mnt"
        place.mkdir()
        image.write_bytes(bytes(2**21))
        try:
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
            with mounted(image, place):
                return ""
        except subprocess.CalledProcessError as error:
            return f"a loop file cannot be mounted: {error.stderr.decode(errors='replace').strip()}"
    return "a loop file cannot be mounted"


def say(result: object) -> None:
    """Print one line."""
    sys.stdout.write(f"{result}\n")
    sys.stdout.flush()


def main() -> None:
    """Print one line a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--cuts", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.run)
    with tempfile.TemporaryDirectory() as work:
        if options.kills:
            say(kills(Path(work) / "log", options.kills, seed=options.seed))
        if options.cuts:
            say(why_no_mounts() or cuts(Path(work), options.cuts, seed=options.seed))
    return None


if __name__ == "__main__":
    main()
