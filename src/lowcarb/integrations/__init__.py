"""The meter in other people's training frameworks: one module each, loaded only where that framework is.

Nothing is imported here: a callback's base class is its framework's, and that loads torch.
"""
