"""What a disk may hold after a power loss: the recorder's trace (record.c), played up to a moment, and from there any
legal outcome of what was not synced.

The model, stricter than any file system of ours:
- A sector (512 bytes) is whole. Of each one any version since the last sync of its file may be there: versions are what
  the page cache held, one a write that touches it.
- A file's size is any since its last sync, whatever sectors arrived; sectors beyond it are lost, missing ones zeros.
- A folder's changes of names keep their order, but any number of the newest may be missing until the *folder* is synced.
  Syncing a file says nothing about its name.
- A sync covers what was done before it began, from when it returned. A write through an O_DSYNC descriptor is there when
  it returned, and nothing else is with it.
"""

import mmap
import struct

DONE, WRITE, SYNC, SIZE, GROW, CREATE, FOLDER, RENAME, UNLINK, MAPPED, FACT = range(1, 12)
HEAD = 16
MARK = 0x43525454
RECORD = struct.Struct("=IIQqQQQ")
SECTOR = 512
META_SECTORS = 2 * 4096 // SECTOR  # LMDB's two meta pages


class Event:
    """One record. `place`: its number."""

    __slots__ = ("place", "kind", "at_ns", "file", "offset", "number", "data")

    def __init__(self, place, kind, at_ns, file, offset, number, data):
        self.place, self.kind, self.at_ns, self.file = place, kind, at_ns, file
        self.offset, self.number, self.data = offset, number, data


def read_trace(path):
    """-> list of Event. A hole (a process killed between reservation and copy) is passed over."""
    events = []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as trace:
        magic, end = struct.unpack_from("=8sQ", trace)
        assert magic == b"TRUCDISK"
        at = HEAD
        while at < end:
            mark, kind, size, at_ns, place, offset, number = RECORD.unpack_from(trace, at)
            if mark != MARK:
                at += 8
                continue
            data = trace[at + RECORD.size : at + RECORD.size + size]
            events.append(Event(at, kind, at_ns, place, offset, number, data))
            at += (RECORD.size + size + 7) // 8 * 8
    return events


def new_trace(path, room):
    with open(path, "wb") as file:
        file.write(struct.pack("=8sQ", b"TRUCDISK", HEAD))
        file.truncate(room)


class Op:
    """A change of a file that is not folded into what is certainly there. `durable`: it is there all the same."""

    __slots__ = ("number", "kind", "offset", "data", "size", "sync", "done", "durable")

    def __init__(self, event):
        self.number, self.kind, self.offset, self.data = event.place, event.kind, event.offset, event.data
        self.sync, self.done, self.durable = bool(event.number), event.kind != WRITE, False

    @property
    def end(self):
        return self.offset + len(self.data)

    def resize(self, size):
        if self.kind == SIZE:
            return self.offset
        return max(size, self.offset if self.kind == GROW else self.end)

    def sectors(self):
        if self.kind != WRITE or not self.data:
            return range(0)
        return range(self.offset // SECTOR, (self.end - 1) // SECTOR + 1)

    def apply(self, content, sector):
        """Its part of one sector."""
        first, last = max(self.offset, sector * SECTOR), min(self.end, (sector + 1) * SECTOR)
        content[first:last] = self.data[first - self.offset : last - self.offset]


class File:
    def __init__(self):
        self.base = bytearray()
        self.ops = []
        self.syncs = {}  # a sync under way -> the operations it covers

    def add(self, event):
        op = Op(event)
        if op.kind == SIZE and op.offset < self.size():
            # Only a new file is cut in our programs; a version of zeros in each sector would have to be modelled.
            raise AssertionError("a file was cut: not modelled")
        self.ops.append(op)
        return op

    def size(self):
        size = len(self.base)
        for op in self.ops:
            size = op.resize(size)
        return size

    def on_done(self, op, result):
        if result < 0:
            self.ops.remove(op)
            return
        op.data = op.data[:result]
        op.done = True
        if op.sync:
            op.durable = True
            self.fold()

    def on_sync(self, number):
        self.syncs[number] = [op for op in self.ops if op.done]

    def on_synced(self, number, result):
        for op in self.syncs.pop(number):
            op.durable = op.durable or result == 0
        self.fold()

    def fold(self):
        count = 0
        for op in self.ops:
            if not op.durable:
                break
            size = op.resize(len(self.base))
            self.base.extend(bytes(size - len(self.base)))
            if op.kind == WRITE:
                self.base[op.offset : op.end] = op.data
            count += 1
        del self.ops[:count]

    @property
    def pending(self):
        return any(not op.durable for op in self.ops)

    def content(self, choice):
        """The file as `choice` has it (choices.py): choice.sector(sector, ops, least) -> how many of the operations on
        it are there, choice.size(sizes, least, natural) -> one of the sizes."""
        if not self.ops:
            return self.base
        choice.prepare(len(self.ops))
        touching = {}
        for i, op in enumerate(self.ops):
            for sector in op.sectors():
                touching.setdefault(sector, []).append(i)
        size = least = len(self.base)
        sizes = []
        for op in self.ops:
            size = op.resize(size)
            sizes.append(size)
            if op.durable:
                least = op.resize(least)
        sizes = [least] + [size for size in sizes if size > least]
        content = bytearray(max(sizes))
        content[: len(self.base)] = self.base
        natural = least
        for sector, indexes in touching.items():
            at_least = 0
            for n, i in enumerate(indexes):
                if self.ops[i].durable:
                    at_least = n + 1
            count = choice.sector(sector, indexes, at_least)
            assert at_least <= count <= len(indexes)
            for i in indexes[:count]:
                self.ops[i].apply(content, sector)
                natural = max(natural, min(self.ops[i].end, (sector + 1) * SECTOR))
        del content[choice.size(sizes, natural) :]
        return content


class Folder:
    def __init__(self):
        self.base = {}  # name -> File or Folder
        self.ops = []
        self.syncs = {}

    def apply(self, names, op):
        kind, name, target = op
        if kind == RENAME:
            names[target] = names.pop(name)
        elif kind == UNLINK:
            del names[name]
        else:
            names[name] = target

    def on_sync(self, number):
        self.syncs[number] = len(self.ops)

    def on_synced(self, number, result):
        count = self.syncs.pop(number)
        assert not self.syncs, "two syncs of one folder at a time: not modelled"
        if result == 0:
            for op in self.ops[:count]:
                self.apply(self.base, op)
            del self.ops[:count]

    @property
    def pending(self):
        return bool(self.ops)

    def names(self, count):
        names = dict(self.base)
        for op in self.ops[:count]:
            self.apply(names, op)
        return names


class Disk:
    """`root`: inode of the recording's folder, empty and durable at the beginning. `unsynced`: a planted fault, the
    beginning of a file's name at its creation: its syncs do nothing."""

    def __init__(self, root, unsynced=None):
        self.root, self.unsynced, self.deaf = Folder(), unsynced, set()
        self.things = {root: self.root}  # inode -> what has it now; a freed inode is another file's soon
        self.calls = {}  # a call under way -> (thing, operation; None: a sync)
        self.mapped = False

    def thing(self, inode):
        return self.things[inode]

    def play(self, event):
        kind = event.kind
        if kind == DONE:
            self.on_done(event)
        elif kind == WRITE:
            thing = self.thing(event.file)
            self.calls[event.place] = (thing, thing.add(event))
        elif kind == SYNC:
            thing = self.things.get(event.file)
            if thing is not None and thing not in self.deaf:
                thing.on_sync(event.place)
                self.calls[event.place] = (thing, None)
        elif kind in (SIZE, GROW):
            thing = self.thing(event.file)
            if kind == SIZE and event.offset == 0 and thing.size() == 0:
                return
            thing.add(event)
        elif kind in (CREATE, FOLDER):
            made = File() if kind == CREATE else Folder()
            self.things[event.file] = made
            name = event.data.decode()
            self.thing(event.number).ops.append((kind, name, made))
            if self.unsynced and name.startswith(self.unsynced):
                self.deaf.add(made)
        elif kind == RENAME:
            assert event.file == event.number, "a rename between folders: not modelled"
            old, new = event.data.decode().split("\0")
            self.thing(event.file).ops.append((RENAME, old, new))
        elif kind == UNLINK:
            self.thing(event.number).ops.append((UNLINK, event.data.decode(), None))
        elif kind == MAPPED:
            self.mapped = True

    def on_done(self, event):
        call = self.calls.pop(event.number, None)
        if call is None:
            return
        thing, op = call
        result = event.offset - (1 << 64) if event.offset >> 63 else event.offset
        if op is None:
            thing.on_synced(event.number, result)
        else:
            thing.on_done(op, result)

    def pending(self):
        """-> names of what has something unsynced, as it is called now: "data/journal.mdb", "data/" """
        found = []

        def look(folder, path):
            if folder.pending:
                found.append(path or "/")
            for name, thing in folder.names(len(folder.ops)).items():
                if isinstance(thing, Folder):
                    look(thing, f"{path}{name}/")
                elif thing.pending:
                    found.append(path + name)

        look(self.root, "")
        return found

    def state(self, choices):
        """What is there after a power loss now. `choices(path)` -> the choice for a file or folder (path ends in "/").
        -> {path: content; None: a folder}"""
        out = {}

        def fill(folder, path):
            for name, thing in folder.names(choices(path).names(len(folder.ops))).items():
                if isinstance(thing, Folder):
                    out[f"{path}{name}"] = None
                    fill(thing, f"{path}{name}/")
                else:
                    out[path + name] = thing.content(choices(path + name))

        fill(self.root, "")
        return out
