"""The local web page over a ledger: `lowcarb serve`. It reads; of a ledger it writes tags, and nothing else.

Needs the extra `serve` (starlette and uvicorn), which only `lowcarb.dashboard.app` and what it imports ask for.
"""
