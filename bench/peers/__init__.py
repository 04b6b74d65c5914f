"""Other systems that keep work for later, under the same load as brique. Each module is a program of its own:

    python -m bench.peers.NAME ack FOLDER WRITERS SECONDS    acknowledged per second, as one line of JSON
    python -m bench.peers.NAME drain FOLDER COUNT            done per second, likewise

Servers that they need are started by `bench.peers.servers`, whose addresses come in the environment.
"""
