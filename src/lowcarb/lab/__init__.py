"""Controlled experiments: data, tokenizers, models, training, scoring, and the runner that puts them under the meter.

The only layer that knows torch, and only when a training starts: `studyfile`, `data` and `base` import without it.
"""
