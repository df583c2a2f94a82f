"""Finding other nodes: the book of addresses, whom to ask next, the DHT, and the local network."""
