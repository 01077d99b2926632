"""`python -m everystall` is the command `everystall`."""

from everystall.cli import main

main()
