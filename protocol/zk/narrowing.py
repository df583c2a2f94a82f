"""Proofs that one policy is no wider than another, where one of them, or both, are confidential.

Normative text: docs/spec/narrowing.md. What is proved, for every capability: the pair of bits (wide, narrow) is (0, 0),
(1, 0) or (1, 1); for every limit of the narrower policy: 0 <= narrow <= wide, and both are small. What a record claims
of a confidential policy is proved in the same way, as an open policy that allows just that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tslg.protocol.zk import orproof, ranges
from tslg.protocol.zk.commitments import LIMIT_BITS, MOST, Opening, commit, shift
from tslg.protocol.zk.group import ORDER, SIZE, VALUE, add, is_element, mul, sub
from tslg.protocol.zk.orproof import Claim, Nonces, Witness
from tslg.protocol.zk.transcript import Transcript

_KEY: Final = b"tslg.narrowing.v1 key"


class Open(NamedTuple):
    """What a policy, or a record, says openly: capabilities and limits, or amounts, by name."""

    capabilities: frozenset[str]
    limits: Mapping[str, int]


class Hidden(NamedTuple):
    """What a confidential policy says: a commitment to a bit for every name of the vocabulary, and to every limit."""

    vocabulary: tuple[str, ...]
    capabilities: tuple[bytes, ...]
    limits: Mapping[str, bytes]


Terms = Open | Hidden


def hide(vocabulary: Sequence[str], opening: Opening) -> Hidden:
    """Commit to what an opening says, over a vocabulary (sorted, without repeats).

    Raises:
        ValueError: a capability is not of the vocabulary, or a limit does not fit 32 bits.
    """
    if not opening.capabilities <= set(vocabulary):
        raise ValueError("a capability is not in the vocabulary")
    if not all(0 <= limit <= MOST for limit in opening.limits.values()):
        raise ValueError(f"a confidential limit lies between 0 and {MOST}")
    return Hidden(
        tuple(vocabulary),
        tuple(commit(opening.bit(name), opening.capability_blinding(name)) for name in vocabulary),
        {name: commit(limit, opening.limit_blinding(name)) for name, limit in opening.limits.items()},
    )


def well_formed(terms: Hidden) -> bool:
    """Tell whether every commitment is the one encoding of an element other than the identity."""
    elements = (*terms.capabilities, *terms.limits.values())
    return len(terms.vocabulary) == len(terms.capabilities) and all(map(is_element, elements))


def impossible(wide: Terms, narrow: Terms) -> str | None:
    """Tell from what is public alone why no proof can show that `narrow` is no wider; None if one may."""
    if isinstance(wide, Hidden):
        if isinstance(narrow, Hidden) and narrow.vocabulary != wide.vocabulary:
            return "the two vocabularies differ"
        if isinstance(narrow, Open) and not narrow.capabilities <= set(wide.vocabulary):
            return f"{sorted(narrow.capabilities - set(wide.vocabulary))} are not in the vocabulary"
    elif isinstance(narrow, Open):
        return "neither side is confidential"
    for name in sorted(narrow.limits):
        limits = [terms.limits[name] for terms in (wide, narrow) if isinstance(terms, Open) and name in terms.limits]
        if name not in wide.limits:
            return f"limit {name!r} is none of the wider policy's"
        if any(limit < 0 for limit in limits) or (isinstance(narrow, Open) and narrow.limits[name] > MOST):
            return f"limit {name!r} is not one that a proof can be about"
    return None


def needed(wide: Terms, narrow: Terms) -> bool:
    """Tell whether there is anything to prove: a record that claims nothing needs no proof."""
    return isinstance(narrow, Hidden) or bool(narrow.capabilities) or bool(narrow.limits)


def proof_size(wide: Terms, narrow: Terms) -> int:
    """Return the bytes of the proof, which follow from what is public."""
    return ranges.BITS_SIZE * _range_count(narrow) + orproof.proof_size(_branches(wide, narrow))


def prove(
    wide: Terms,
    narrow: Terms,
    wide_opening: Opening | None,
    narrow_opening: Opening | None,
    *,
    binding: bytes,
    entropy: bytes,
) -> bytes:
    """Prove that `narrow` is no wider than `wide`.

    Args:
        wide, narrow: the two sides; at least one is `Hidden`.
        wide_opening, narrow_opening: what opens a side that is `Hidden`, None for one that is `Open`.
        binding: what the proof is for, so that it is one for nothing else.
        entropy: 32 secret random bytes. Should they ever repeat, the nonces still differ by statement and opening.

    Raises:
        ValueError: it is wider, an opening does not open its side, or no proof can be about these sides.
    """
    fault = impossible(wide, narrow)
    if fault is not None:
        raise ValueError(fault)
    transcript = _begin(wide, narrow, binding)
    nonces = Nonces(_nonce_key(transcript, entropy, wide_opening, narrow_opening))
    secrets = _Secrets(_opened(wide, wide_opening), _opened(narrow, narrow_opening))
    parts = [ranges.take_apart(*witness, nonces) for witness in secrets.ranges(wide, narrow)]
    upper = [part.upper for part in parts]
    mixer = _absorb_bits(transcript, upper)
    claims = _claims(wide, narrow, upper, mixer)
    witnesses = [*secrets.capabilities(wide, narrow, mixer), *(one for part in parts for one in part.witnesses)]
    proof = orproof.prove(transcript, claims, witnesses, nonces)
    return b"".join(element for elements in upper for element in elements) + proof


def verify(wide: Terms, narrow: Terms, *, binding: bytes, proof: bytes) -> bool:
    """Tell whether a proof shows that `narrow` is no wider than `wide`. Never raises; both sides are `well_formed`."""
    if impossible(wide, narrow) is not None or len(proof) != proof_size(wide, narrow):
        return False
    upper, rest = _read_bits(proof, _range_count(narrow))
    if not all(is_element(element) for elements in upper for element in elements):
        return False
    transcript = _begin(wide, narrow, binding)
    mixer = _absorb_bits(transcript, upper)
    return orproof.verify(transcript, _claims(wide, narrow, upper, mixer), rest)


# --- the statement: what both sides compute alike ----------------------------------------------------------------


def _begin(wide: Terms, narrow: Terms, binding: bytes) -> Transcript:
    transcript = Transcript()
    transcript.absorb(b"binding", binding)
    for terms in (wide, narrow):
        if isinstance(terms, Hidden):
            transcript.absorb(b"hidden", b"".join(terms.capabilities))
            for name in terms.vocabulary:
                transcript.absorb(b"capability", name.encode())
            for name, commitment in sorted(terms.limits.items()):
                transcript.absorb(b"limit", commitment + name.encode())
        else:
            transcript.absorb(b"open", b"")
            for name in sorted(terms.capabilities):
                transcript.absorb(b"capability", name.encode())
            for name, limit in sorted(terms.limits.items()):
                transcript.absorb(b"limit", str(limit).encode() + b" " + name.encode())
    return transcript


def _absorb_bits(transcript: Transcript, upper: Sequence[Sequence[bytes]]) -> int:
    """Absorb the commitments to bits of ranges, and return the challenge that mixes the two bits of a capability."""
    for elements in upper:
        transcript.absorb(b"bits", b"".join(elements))
    return transcript.challenge(b"mixer")


def _read_bits(proof: bytes, count: int) -> tuple[list[list[bytes]], bytes]:
    end = ranges.BITS_SIZE * count
    elements = [proof[at : at + SIZE] for at in range(0, end, SIZE)]
    each = ranges.BITS_SIZE // SIZE
    return [elements[at : at + each] for at in range(0, len(elements), each)], proof[end:]


def _claims(wide: Terms, narrow: Terms, upper: Sequence[Sequence[bytes]], mixer: int) -> list[Claim]:
    claims = _capability_claims(wide, narrow, mixer)
    for element, elements in zip(_ranged(wide, narrow), upper, strict=True):
        claims += ranges.claims(element, elements)
    return claims


def _capability_claims(wide: Terms, narrow: Terms, mixer: int) -> list[Claim]:
    """Return one claim a capability.

    Two commitments w and n are mixed to w + mixer * n. Since the mixer is drawn after both are fixed, the mixture is a
    commitment to 0, 1 or 1 + mixer only if (w, n) is (0, 0), (1, 0) or (1, 1): both are bits, and n <= w.
    """
    if isinstance(wide, Hidden) and isinstance(narrow, Hidden):
        allowed = (0, 1, (1 + mixer) % ORDER)
        pairs = zip(wide.capabilities, narrow.capabilities, strict=True)
        return [Claim(add(w, mul(mixer, n)), allowed) for w, n in pairs]
    if isinstance(wide, Hidden):
        assert isinstance(narrow, Open)
        held = dict(zip(wide.vocabulary, wide.capabilities, strict=True))
        return [Claim(held[name], (1,)) for name in sorted(narrow.capabilities)]
    assert isinstance(narrow, Hidden)
    granted = wide.capabilities
    bits = zip(narrow.vocabulary, narrow.capabilities, strict=True)
    return [Claim(element, (0, 1) if name in granted else (0,)) for name, element in bits]


def _ranged(wide: Terms, narrow: Terms) -> list[bytes]:
    """Return the commitments to numbers of 32 bits: for each limit the narrower one, if hidden, and the difference."""
    if isinstance(narrow, Open):
        assert isinstance(wide, Hidden)
        return [shift(wide.limits[name], narrow.limits[name]) for name in sorted(narrow.limits)]
    elements: list[bytes] = []
    for name in sorted(narrow.limits):
        above = wide.limits[name] if isinstance(wide, Hidden) else mul(min(wide.limits[name], MOST), VALUE)
        elements += [narrow.limits[name], sub(above, narrow.limits[name])]
    return elements


def _range_count(narrow: Terms) -> int:
    return len(narrow.limits) * (2 if isinstance(narrow, Hidden) else 1)


def _branches(wide: Terms, narrow: Terms) -> list[int]:
    """Return the number of values of every claim."""
    if isinstance(narrow, Open):
        capabilities = [1] * len(narrow.capabilities)
    elif isinstance(wide, Hidden):
        capabilities = [3] * len(narrow.vocabulary)
    else:
        capabilities = [2 if name in wide.capabilities else 1 for name in narrow.vocabulary]
    return capabilities + [2] * (_range_count(narrow) * LIMIT_BITS)


# --- what only the prover knows ----------------------------------------------------------------------------------


class _Side(NamedTuple):
    """One side with its contents; without a secret it is open, and its blindings are 0."""

    contents: Opening
    hidden: bool

    def bit(self, name: str) -> Witness:
        return Witness(self.contents.bit(name), self.contents.capability_blinding(name) if self.hidden else 0)

    def limit(self, name: str) -> Witness:
        return Witness(self.contents.limits[name], self.contents.limit_blinding(name) if self.hidden else 0)


class _Secrets(NamedTuple):
    """Both sides, opened: makes the witnesses in the order of the claims."""

    wide: _Side
    narrow: _Side

    def capabilities(self, wide: Terms, narrow: Terms, mixer: int) -> list[Witness]:
        if isinstance(narrow, Open):
            return [self.wide.bit(name) for name in sorted(narrow.capabilities)]
        if isinstance(wide, Open):
            return [self.narrow.bit(name) for name in narrow.vocabulary]
        pairs = [(self.wide.bit(name), self.narrow.bit(name)) for name in narrow.vocabulary]
        return [Witness(w.value + mixer * n.value, w.blinding + mixer * n.blinding) for w, n in pairs]

    def ranges(self, wide: Terms, narrow: Terms) -> list[Witness]:
        witnesses = []
        for name in sorted(narrow.limits):
            above, below = self.wide.limit(name), self.narrow.limit(name)
            if isinstance(wide, Open):
                above = Witness(min(above.value, MOST), 0)
            if isinstance(narrow, Hidden):
                witnesses.append(below)
            witnesses.append(Witness(above.value - below.value, above.blinding - below.blinding))
        return witnesses


def _opened(terms: Terms, opening: Opening | None) -> _Side:
    if isinstance(terms, Open):
        return _Side(Opening(terms.capabilities, terms.limits, b""), False)
    if opening is None or hide(terms.vocabulary, opening) != terms:
        raise ValueError("the opening is not that of the commitments")
    return _Side(opening, True)


def _nonce_key(transcript: Transcript, entropy: bytes, *openings: Opening | None) -> bytes:
    if len(entropy) != SIZE:
        raise ValueError("entropy is 32 bytes")
    secrets = b"".join(opening.secret for opening in openings if opening is not None)
    return hashlib.sha512(_KEY + entropy + secrets + transcript.state()).digest()
