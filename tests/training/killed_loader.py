"""Kills a loader process at a random moment and prints the lines that tell it; run in a process of its own.

PyTorch's handler of SIGCHLD raises in the main thread, wherever that is: in a test it would end the test runner.
"""

import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from toy import ToyData

from zoo.cli.failures import lines
from zoo.training.loader import LoaderDied, deaths_told


def main(seed: int) -> None:
    chance = random.Random(seed)
    loader = ToyData(workers=2, batch_size=1).train_dataloader()

    def kill(pid: int) -> None:
        time.sleep(chance.uniform(0, 0.05))
        os.kill(pid, signal.SIGKILL)

    batches = iter(loader)
    threading.Thread(target=kill, args=(chance.choice(batches._workers).pid,)).start()
    try:
        with deaths_told(lambda: "run again"):
            while True:  # persistent workers: the same two in every epoch
                for _ in batches:
                    pass
                batches = iter(loader)
    except LoaderDied as error:
        print(*lines(error), sep="\n", flush=True)


main(int(sys.argv[1]))
