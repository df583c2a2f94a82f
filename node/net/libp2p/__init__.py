"""The network over py-libp2p 0.8.1: TCP, Noise and Yamux only, and a way round each of its defects that were measured.

Importing this package does not import libp2p; importing its modules does, which takes half a second and 85 MB.
"""
