"""An independent client of the Truc protocol, written from proto/PROTOCOL.md and the schemas alone.

It shares no code with the C sources, on purpose: where the two disagree, the document decides which one is wrong.
"""
