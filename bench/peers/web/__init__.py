"""The peers of the web bench: the same rows of the same SQLite file as JSON and as a page, each as its users write it.

They run in an environment of their own (requirements.txt), so that brique's holds none of them.
"""
