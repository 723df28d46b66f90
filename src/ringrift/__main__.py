"""`python -m ringrift` is the command line."""

from ringrift.cli import main

main()
