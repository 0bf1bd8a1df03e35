"""Which of the unsynced writes reached the disk: the special answers, and random ones."""

from disk import META_SECTORS


class Choice:
    """Of one file or folder. This one: everything that was written is there."""

    def __init__(self, rng):
        self.rng = rng
        # Sizes mostly follow the sectors that arrived; a file system may as well be early or late with them.
        self.sizing = rng.choice(("natural", "natural", "natural", "most", "least", "any"))

    def prepare(self, count):
        """Called first: the file has so many operations that are not certainly there."""

    def sector(self, sector, ops, least):
        """`ops`: indexes of the operations on it, in order; the first `least` are there in any case."""
        return len(ops)

    def size(self, sizes, natural):
        """`sizes`: those since the last sync; `natural`: what the sectors that are there need."""
        return {"natural": natural, "most": max(sizes), "least": sizes[0], "any": self.rng.choice(sizes)}[self.sizing]

    def names(self, count):
        return self.rng.randint(0, count)


class All(Choice):
    def size(self, sizes, natural):
        return sizes[-1]

    def names(self, count):
        return count


class Nothing(Choice):
    def sector(self, sector, ops, least):
        return least

    def names(self, count):
        return 0


class EachSector(Choice):
    """Any version of each sector, mostly the newest or mostly the oldest."""

    def __init__(self, rng):
        super().__init__(rng)
        self.share = rng.choice((0.02, 0.2, 0.5, 0.8, 0.98))

    def sector(self, sector, ops, least):
        if self.rng.random() < self.share:
            return len(ops)
        return self.rng.randint(least, len(ops) - 1) if least < len(ops) else least


class EachPage(EachSector):
    """The same in pages of 4 KiB."""

    def __init__(self, rng):
        super().__init__(rng)
        self.kept = {}

    def sector(self, sector, ops, least):
        if self.kept.setdefault(sector // 8, self.rng.random() < self.share):
            return len(ops)
        return least


class SomeWrites(Choice):
    """Whole writes: some; or none but one; or all but one."""

    def __init__(self, rng):
        super().__init__(rng)
        self.share = rng.choice((0.1, 0.5, 0.9))
        self.taken = {}

    def takes(self, op):
        return self.taken.setdefault(op, self.rng.random() < self.share)

    def sector(self, sector, ops, least):
        # A later version of a sector holds what was written to it before: the page cache writes sectors, not calls.
        return max(least, max((n + 1 for n, op in enumerate(ops) if self.takes(op)), default=0))


class AllButTheLast(Choice):
    """In the order of the writes, without the newest, or with a torn part of it."""

    def __init__(self, rng):
        super().__init__(rng)
        self.torn = rng.choice((0.0, 0.0, 0.5))
        self.last = None

    def prepare(self, count):
        self.last = count - 1

    def sector(self, sector, ops, least):
        if ops[-1] == self.last and self.rng.random() >= self.torn:
            return max(least, len(ops) - 1)
        return len(ops)


class OnlyTheLast(Choice):
    def __init__(self, rng):
        super().__init__(rng)
        self.last = None

    def prepare(self, count):
        self.last = count - 1

    def sector(self, sector, ops, least):
        return len(ops) if ops[-1] == self.last else least


class AllButOneSector(Choice):
    def __init__(self, rng):
        super().__init__(rng)
        self.skip = rng.randrange(1, 400)

    def sector(self, sector, ops, least):
        self.skip -= 1
        return least if self.skip == 0 else len(ops)


class MetaFirst(Choice):
    """LMDB's meta pages without the pages that they name."""

    def sector(self, sector, ops, least):
        return len(ops) if sector < META_SECTORS else least


class MetaLast(Choice):
    def sector(self, sector, ops, least):
        return least if sector < META_SECTORS else len(ops)


class UpTo(Choice):
    """The writes up to one of them, this one torn in the middle."""

    def __init__(self, rng):
        super().__init__(rng)
        self.point = rng.random()
        self.share = rng.random()
        self.at = 0

    def prepare(self, count):
        self.at = int(self.point * count)

    def sector(self, sector, ops, least):
        whole = sum(op < self.at for op in ops)
        if whole < len(ops) and ops[whole] == self.at and self.rng.random() < self.share:
            whole += 1
        return max(least, whole)


KINDS = (
    All, Nothing, EachSector, EachSector, EachPage, SomeWrites, AllButTheLast, OnlyTheLast, AllButOneSector,
    MetaFirst, MetaLast, UpTo,
)  # fmt: skip


class Choices:
    """One power loss: mostly every file fares in its own way, sometimes all in the same. `used`: path -> kind."""

    def __init__(self, rng):
        self.rng, self.used, self.made = rng, {}, {}
        self.same = rng.choice(KINDS) if rng.random() < 0.4 else None

    def __call__(self, path):
        if path not in self.made:
            kind = self.same or self.rng.choice(KINDS)
            self.made[path] = kind(self.rng)
            self.used[path] = kind.__name__
        return self.made[path]
