"""RFC 6962 trees: roots, inclusion and consistency, from the RFC's own recursive definitions and RFC 9162's checks."""

import hashlib


def leaf_hash(leaf):
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(n):
    """The largest power of two smaller than n, for n > 1."""
    return 1 << (n - 1).bit_length() - 1


def root(hashes):
    """Tree head over leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = _split(len(hashes))
    return node_hash(root(hashes[:k]), root(hashes[k:]))


def inclusion(index, hashes):
    """Path of hashes[index], from the leaf to the root (RFC 6962, 2.1.1)."""
    if len(hashes) == 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return inclusion(index, hashes[:k]) + [root(hashes[k:])]
    return inclusion(index - k, hashes[k:]) + [root(hashes[:k])]


def consistency(old, hashes):
    """Proof from the tree of the first `old` leaves to the whole (RFC 6962, 2.1.2); empty from 0 and from equal sizes."""
    if old in (0, len(hashes)):
        return []
    return _subproof(old, hashes, True)


def _subproof(m, hashes, known):
    if m == len(hashes):
        return [] if known else [root(hashes)]
    k = _split(len(hashes))
    if m <= k:
        return _subproof(m, hashes[:k], known) + [root(hashes[k:])]
    return _subproof(m - k, hashes[k:], False) + [root(hashes[:k])]


def verify_inclusion(index, size, leaf, path, head):
    """True if `path` leads from the leaf hash at `index` to `head` of a tree of `size` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or any(len(h) != 32 for h in [leaf, head, *path]):
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == head


def verify_consistency(old, new, old_head, new_head, proof):
    """True if the tree of `new` leaves continues the one of `old` leaves (RFC 9162, 2.1.4.2).

    The empty tree proves nothing: False for `old` 0."""
    if not 0 < old <= new or any(len(h) != 32 for h in proof):
        return False
    if old == new:
        return not proof and old_head == new_head
    if not proof:
        return False
    nodes = list(proof)
    if old & (old - 1) == 0:
        nodes.insert(0, old_head)
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = nodes[0]
    for c in nodes[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_head and sr == new_head


def multiproof(indexes, hashes):
    """Nodes that prove the leaves at `indexes` together (PROTOCOL.md, section 9, "Multiproof"): heads of the largest
    subtrees that hold none of them, from left to right."""

    def walk(lo, hi):
        if not any(lo <= i < hi for i in indexes):
            return [root(hashes[lo:hi])]
        if hi - lo == 1:
            return []
        k = _split(hi - lo)
        return walk(lo, lo + k) + walk(lo + k, hi)

    return walk(0, len(hashes))


def multiproof_root(count, leaves, nodes):
    """Root of a tree of `count` leaves from some of its leaf hashes ({index: hash}) and a multiproof; None where the
    proof does not have just the nodes that it must have."""
    if not leaves or not all(0 <= i < count for i in leaves) or any(len(n) != 32 for n in nodes):
        return None
    rest = iter(nodes)

    def walk(lo, hi):
        if not any(lo <= i < hi for i in leaves):
            return next(rest)
        if hi - lo == 1:
            return leaves[lo]
        k = _split(hi - lo)
        left = walk(lo, lo + k)
        return node_hash(left, walk(lo + k, hi))

    try:
        head = walk(0, count)
    except StopIteration:
        return None
    return head if next(rest, None) is None else None
