"""Proofs of narrowing (docs/spec/narrowing.md), verified by a second program with plain integers. Nothing from tslg.

Slow and small on purpose: the group is RFC 9496 written down, a point is (x, y) with a denominator, nothing is batched.
"""

from __future__ import annotations

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
MINUS_ONE = P - 1
DOMAIN = b"tslg.narrowing.v1"


# --- RFC 9496 ----------------------------------------------------------------------------------------------------


def negative(x: int) -> bool:
    return x % P % 2 == 1


def absolute(x: int) -> int:
    return -x % P if negative(x) else x % P


def sqrt_ratio(u: int, v: int) -> tuple[bool, int]:
    """Section 4.2, SQRT_RATIO_M1."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    right, flipped, flipped_i = check == u % P, check == -u % P, check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return right or flipped, absolute(r)


INV_SQRT_A_MINUS_D = sqrt_ratio(1, (MINUS_ONE - D) % P)[1]
SQRT_AD_MINUS_ONE = 25063068953384623474111414158702152701244531502492656460079210482610430750235
ONE_MINUS_D_SQ = (1 - D * D) % P
D_MINUS_ONE_SQ = (D - 1) ** 2 % P
ZERO = (0, 1, 1, 0)


def decode(data: bytes):
    """Section 4.3.1; None for what is no encoding."""
    s = int.from_bytes(data, "little")
    if len(data) != 32 or s >= P or negative(s):
        return None
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    v = (-(D * u1 * u1) - u2 * u2) % P
    square, inverse = sqrt_ratio(1, v * u2 * u2)
    den_x = inverse * u2 % P
    x = absolute(2 * s * den_x)
    y = u1 * inverse * den_x * v % P
    t = x * y % P
    return None if not square or negative(t) or y == 0 else (x, y, 1, t)


def encode(point) -> bytes:
    """Section 4.3.2."""
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    _, inverse = sqrt_ratio(1, u1 * u2 * u2)
    den1, den2 = inverse * u1 % P, inverse * u2 % P
    z_inv = den1 * den2 * t0 % P
    if negative(t0 * z_inv):
        x, y, den = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, den1 * INV_SQRT_A_MINUS_D % P
    else:
        x, y, den = x0, y0, den2
    if negative(x * z_inv):
        y = -y % P
    return absolute(den * (z0 - y)).to_bytes(32, "little")


def plus(a, b):
    """Addition on the twisted Edwards curve with a = -1, extended coordinates (complete)."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    g, h = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    x, y, z, t = f - e, h - g, h + g, f + e
    return (x * y % P, z * t % P, y * z % P, x * t % P)


def minus(a, b):
    return plus(a, (-b[0] % P, b[1], b[2], -b[3] % P))


def times(scalar: int, point):
    result = ZERO
    for bit in bin(scalar % L)[2:]:
        result = plus(result, result)
        if bit == "1":
            result = plus(result, point)
    return result


def one_way_map(data: bytes):
    """Section 4.3.4."""
    halves = [int.from_bytes(part, "little") % 2**255 % P for part in (data[:32], data[32:])]
    return plus(elligator(halves[0]), elligator(halves[1]))


def elligator(t: int):
    r = SQRT_M1 * t * t % P
    u = (r + 1) * ONE_MINUS_D_SQ % P
    v = (-1 - r * D) * (r + D) % P
    square, s = sqrt_ratio(u, v)
    c = MINUS_ONE
    if not square:
        s, c = -absolute(s * t) % P, r
    n = (c * (r - 1) * D_MINUS_ONE_SQ - v) % P
    w0, w1, w2, w3 = 2 * s * v, n * SQRT_AD_MINUS_ONE, 1 - s * s, 1 + s * s
    return (w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


BASE = decode(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))
VALUES = one_way_map(hashlib.sha512(b"tslg.narrowing.v1 generator of values").digest())


def commitment(value: int, blinding: int) -> bytes:
    """[ZKN-3]"""
    return encode(plus(times(value, VALUES), times(blinding, BASE)))


def blinding(secret: bytes, kind: bytes, name: str) -> int:
    """[ZKN-15]"""
    return scalar_of(hashlib.sha512(DOMAIN + b" blinding" + secret + kind + name.encode()).digest())


def scalar_of(digest: bytes) -> int:
    return int.from_bytes(digest, "little") % L


# --- narrowing.md ------------------------------------------------------------------------------------------------


class Transcript:
    """[ZKN-4], [ZKN-5]"""

    def __init__(self):
        self.data = b""
        self.absorb(b"domain", DOMAIN)

    def absorb(self, label: bytes, message: bytes):
        self.data += len(label).to_bytes(8, "big") + label + len(message).to_bytes(8, "big") + message

    def challenge(self, label: bytes) -> int:
        self.absorb(label, b"")
        return scalar_of(hashlib.sha512(self.data).digest())


def proof_holds(wide: dict, narrow: dict, binding: bytes, proof: bytes) -> bool:
    """[ZKN-9] to [ZKN-14]. A side is {capabilities, limits}, with `vocabulary` too if it is hidden."""
    if no_proof_can_be(wide, narrow):
        return False
    hidden_wide, hidden_narrow = "vocabulary" in wide, "vocabulary" in narrow
    names = sorted(narrow["limits"], key=str.encode)
    ranges = (2 if hidden_narrow else 1) * len(names)
    transcript = Transcript()
    transcript.absorb(b"binding", binding)
    for side in (wide, narrow):
        absorb_side(transcript, side)
    bits, rest = proof[: ranges * 992], proof[ranges * 992 :]
    if len(bits) != ranges * 992:
        return False
    for at in range(0, len(bits), 992):
        transcript.absorb(b"bits", bits[at : at + 992])
    k = transcript.challenge(b"mixer")
    claims = []
    if hidden_wide and hidden_narrow:
        for w, n in zip(elements(wide["capabilities"]), elements(narrow["capabilities"]), strict=True):
            claims.append((plus(w, times(k, n)), [0, 1, (1 + k) % L]))
    elif hidden_wide:
        held = dict(zip(wide["vocabulary"], elements(wide["capabilities"]), strict=True))
        claims = [(held[name], [1]) for name in sorted(narrow["capabilities"], key=str.encode)]
    else:
        for name, n in zip(narrow["vocabulary"], elements(narrow["capabilities"]), strict=True):
            claims.append((n, [0, 1] if name in wide["capabilities"] else [0]))
    ranged = []
    for name in names:
        n, w = narrow["limits"][name], wide["limits"][name]
        n = decode(n) if hidden_narrow else times(n, VALUES)
        w = decode(w) if hidden_wide else times(min(w, 2**32 - 1), VALUES)
        ranged += [n, minus(w, n)] if hidden_narrow else [minus(w, n)]
    for index, whole in enumerate(ranged):
        upper = [decode(bits[at : at + 32]) for at in range(index * 992, (index + 1) * 992, 32)]
        if any(part is None or encode(part) == bytes(32) for part in upper):
            return False
        lowest = whole
        for power, part in enumerate(upper, 1):
            lowest = minus(lowest, times(2**power, part))
        claims += [(part, [0, 1]) for part in (lowest, *upper)]
    return claims_hold(transcript, claims, rest)


def no_proof_can_be(wide: dict, narrow: dict) -> bool:
    hidden_wide, hidden_narrow = "vocabulary" in wide, "vocabulary" in narrow
    if hidden_wide and hidden_narrow and wide["vocabulary"] != narrow["vocabulary"]:
        return True
    if hidden_wide and not hidden_narrow and not set(narrow["capabilities"]) <= set(wide["vocabulary"]):
        return True
    for name, limit in narrow["limits"].items():
        if name not in wide["limits"]:
            return True
        if not hidden_wide and wide["limits"][name] < 0:
            return True
        if not hidden_narrow and not 0 <= limit <= 2**32 - 1:
            return True
    return False


def absorb_side(transcript: Transcript, side: dict):
    names = sorted(side["limits"], key=str.encode)
    if "vocabulary" in side:
        transcript.absorb(b"hidden", side["capabilities"])
        for name in side["vocabulary"]:
            transcript.absorb(b"capability", name.encode())
        for name in names:
            transcript.absorb(b"limit", side["limits"][name] + name.encode())
    else:
        transcript.absorb(b"open", b"")
        for name in sorted(side["capabilities"], key=str.encode):
            transcript.absorb(b"capability", name.encode())
        for name in names:
            transcript.absorb(b"limit", b"%d %s" % (side["limits"][name], name.encode()))


def elements(data: bytes) -> list:
    return [decode(data[at : at + 32]) for at in range(0, len(data), 32)]


def claims_hold(transcript: Transcript, claims: list, proof: bytes) -> bool:
    """[ZKN-6], [ZKN-7]"""
    if len(proof) != 32 + sum(32 * (2 * len(values) - 1) for _, values in claims):
        return False
    scalars = [int.from_bytes(proof[at : at + 32], "little") for at in range(0, len(proof), 32)]
    if any(scalar >= L for scalar in scalars):
        return False
    c, at, firsts = scalars[0], 1, []
    for element, values in claims:
        challenges = scalars[at : at + len(values) - 1]
        responses = scalars[at + len(values) - 1 : at + 2 * len(values) - 1]
        at += 2 * len(values) - 1
        challenges.append((c - sum(challenges)) % L)
        for t, part, s in zip(values, challenges, responses, strict=True):
            shifted = minus(element, times(t, VALUES))
            firsts.append(encode(minus(times(s, BASE), times(part, shifted))))
        packed = b"".join(t.to_bytes(32, "little") for t in values)
        transcript.absorb(b"claim", encode(element) + packed)
    for first in firsts:
        transcript.absorb(b"first", first)
    return transcript.challenge(b"challenge") == c
