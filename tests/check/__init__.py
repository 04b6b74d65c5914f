"""`brique check`: what it finds, and that it can fail."""
