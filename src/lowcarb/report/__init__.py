"""Results → documents. Reports only read: they start no run and change no ledger."""
