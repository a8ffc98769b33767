"""What the terminal's dashboard costs: the same training on a terminal and with --quiet, in turns, by the processor time of the process.

    python benches/dashboard.py [--weft target/release/weft] [--spec specs/mnist_cnn.weft] [--epochs 3] [--rounds 5]

Both runs write their records, checkpoints and reports. Needs nothing but Python, on Linux.
"""

import argparse
import os
import pty
import sys
import tempfile


def processor_seconds(command, on_terminal):
    """User and system time of a run of `command`."""
    if on_terminal:
        pid, terminal = pty.fork()
    else:
        pid = os.fork()
    if pid == 0:
        if not on_terminal:
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)
    if on_terminal:
        # Somebody has to read what a terminal is told.
        try:
            while os.read(terminal, 65536):
                pass
        except OSError:
            pass
    _, status, usage = os.wait4(pid, 0)
    if on_terminal:
        os.close(terminal)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weft", default="target/release/weft")
    parser.add_argument("--spec", default="specs/mnist_cnn.weft")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    shown, quiet = [], []
    with tempfile.TemporaryDirectory() as folder:
        command = [args.weft, "train", args.spec, "--epochs", str(args.epochs), "--fresh", "--out"]
        for turn in range(args.rounds):
            shown.append(processor_seconds(command + [f"{folder}/shown"], True))
            quiet.append(processor_seconds(command + [f"{folder}/quiet", "--quiet"], False))
            print(f"round {turn + 1}: terminal {shown[-1]:.2f} s, quiet {quiet[-1]:.2f} s", flush=True)
    # Whatever else the machine does only adds to both, so that the least of each is the nearest to its own cost.
    one, other = min(shown), min(quiet)
    share = 100 * (one - other) / one
    print(f"least: terminal {one:.2f} s, quiet {other:.2f} s of processor time; the dashboard takes {share:+.2f}%")


main()
