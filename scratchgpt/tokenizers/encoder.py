"""Text to token ids, fast: GPT-2's split and the merges, with the ids of every piece met before kept in a cache.

Ids are kept packed, as the bytes of an array, so that encoding a block of text is one dictionary look-up per piece and
one bytes.join.
"""

import heapq
from array import array
from itertools import pairwise

from scratchgpt.tokenizers.split import Specials, pieces, pretokens

ID_BITS = 20  # a pair of ids packs into one int, as does (rank of a merge, id that it makes)
ID_MASK = (1 << ID_BITS) - 1
NO_MERGE = 1 << 60
CUT = Specials(())
LONG = 64  # symbols; beyond it a heap finds the next merge faster than a scan


class Encoder:
    """Encodes ordinary text (special tokens are cut out before).

    byte_ids: the 256 ids of the single bytes. merges: [(left id, right id, id of the result)] in order of rank.
    typecode: how ids are packed, "H" (uint16) or "I" (uint32).
    """

    def __init__(self, byte_ids, merges, typecode):
        self.byte_ids, self.typecode = byte_ids, typecode
        self.ranks = {
            left << ID_BITS | right: rank << ID_BITS | made for rank, (left, right, made) in enumerate(merges)
        }

    def merge(self, data):
        """The ids of one pre-token, given as bytes: while any pair can be merged, the pair of lowest rank is, from the
        left, which replays the merges in the order in which they were learned."""
        ids = list(map(self.byte_ids.__getitem__, data))
        if len(ids) > LONG:
            return self._merge_long(ids)
        rank = self.ranks.get
        ranks = [rank(left << ID_BITS | right, NO_MERGE) for left, right in pairwise(ids)]
        while ranks:
            best = min(ranks)
            if best == NO_MERGE:
                break
            i = ranks.index(best)
            made = best & ID_MASK
            ids[i : i + 2] = [made]
            del ranks[i]
            if i:
                ranks[i - 1] = rank(ids[i - 1] << ID_BITS | made, NO_MERGE)
            if i < len(ranks):
                ranks[i] = rank(made << ID_BITS | ids[i + 1], NO_MERGE)
        return ids

    def _merge_long(self, ids):
        """The same for n symbols in O(n log n): a heap of (rank, place), and a linked list of the symbols left."""
        rank, n = self.ranks.get, len(ids)
        after, before = list(range(1, n + 1)), list(range(-1, n - 1))
        place_bits = n.bit_length()
        place_mask = (1 << place_bits) - 1
        heap = []

        def consider(i, j):
            found = rank(ids[i] << ID_BITS | ids[j])
            if found is not None:
                heapq.heappush(heap, found << place_bits | i)

        for i in range(n - 1):
            consider(i, i + 1)
        while heap:
            item = heapq.heappop(heap)
            i, found = item & place_mask, item >> place_bits
            j = after[i] if ids[i] >= 0 else n
            if j == n or rank(ids[i] << ID_BITS | ids[j]) != found:
                continue  # one of the two has been merged since
            ids[i], ids[j] = found & ID_MASK, -1
            after[i] = j = after[j]
            if j < n:
                before[j] = i
                consider(i, j)
            if before[i] >= 0:
                consider(before[i], i)
        return [made for made in ids if made >= 0]


class Cache(dict):
    """{piece of text: its packed ids}, filled on demand.

    Bounded in two generations: when the young one (this dict) holds `entries`, it becomes the old one and the old one
    is dropped, so that what is used often stays. An entry takes about 170 bytes.
    """

    LONGEST = 64  # characters of a piece worth keeping

    def __init__(self, encoder, entries):
        self.encoder, self.entries, self.old = encoder, entries, {}

    def __missing__(self, piece):
        packed = self.old.get(piece)
        if packed is None:
            words = pretokens(piece)
            packed = b"".join(map(self.__getitem__, words)) if len(words) > 1 else self._pack(piece)
        if len(piece) <= self.LONGEST:
            if len(self) >= self.entries:
                self.old = dict(self)
                self.clear()
            self[piece] = packed
        return packed

    def _pack(self, word):
        return array(self.encoder.typecode, self.encoder.merge(word.encode("utf-8"))).tobytes()

    def encode(self, text):
        """The packed ids of an ordinary text."""
        return b"".join([b"".join(map(self.__getitem__, pieces(block))) for block in CUT.blocks([text])])
