"""`ringrift` and `python -m ringrift` are the command line."""

import signal


def run() -> None:
    """The command line; until a command begins, an interrupt ends the process without a word, as any other program."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ringrift.cli import main

    main()


if __name__ == "__main__":
    run()
