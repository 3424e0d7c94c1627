"""``python -m adapter.cli``: the same as ``koord``."""

from adapter.cli import main

main()
