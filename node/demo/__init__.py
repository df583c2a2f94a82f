"""`tslg demo`: two vendors, three anchors and one stranger, on real input: may this Python environment ship?

Vendor A's release agent delegates the inspection of its environment to vendor B's scanner, a process of its own, over
libp2p, and decides on the evidence that comes back. An auditor in a third process, who knows a federation id, a record
id and an address, walks the whole of it. `orchestration.run` is the demonstration; every other module is a part of it.
"""
