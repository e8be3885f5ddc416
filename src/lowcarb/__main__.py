"""`python -m lowcarb` is `lowcarb`."""

from __future__ import annotations

from lowcarb.cli import main

if __name__ == "__main__":
    main()
