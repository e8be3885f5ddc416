"""Meter, site and ledger put together around a piece of work, so that nothing of what was measured is lost.

`track` for programs, `command.run_command` for any command, `recover.recover` for what was cut off.
"""
