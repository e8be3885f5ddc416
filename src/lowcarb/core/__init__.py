"""The science: pure functions and frozen types. No I/O, no clock, no environment, no hidden randomness."""
