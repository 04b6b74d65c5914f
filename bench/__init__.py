"""Figures: each bench runs brique beside its peers, as users run them, and says what came out, one line a figure."""
