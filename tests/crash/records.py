"""What the load programs wrote down (load.c says how), read while it grows, and the counting at the end."""

import collections


class Facts:
    """One record, read on from where the last look ended."""

    def __init__(self, path):
        self.path, self.offset, self.lines = path, 0, 0
        self.states, self.boots, self.end = [], 0, None

    def refresh(self):
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self.offset += len(whole)
            for line in whole.decode("utf-8").splitlines():
                self.lines += 1
                kind, _, rest = line.partition(" ")
                self.take(kind, rest)
        return self

    def take(self, kind, rest):
        if kind == "B":
            self.boots += 1
            self.on_boot()
        elif kind == "W":
            self.states.append(rest)
        elif kind == "X":
            self.end = rest
        elif not self.on_fact(kind, rest.split(" ")):
            raise AssertionError(f"{self.path}: line {self.lines}: {kind} {rest}")

    def on_boot(self):
        pass

    @property
    def opened(self):
        """How often the session was open."""
        return sum(s.startswith("OPEN") for s in self.states)


class Sent(Facts):
    """A sender's record."""

    def __init__(self, path, agency, subjects, recipients):
        super().__init__(path)
        self.agency, self.subjects, self.recipients = agency, subjects, recipients
        self.intended, self.handed = [], []  # (first, count)
        self.receipts = {}  # number -> (sequence, reason, logged, duplicate)
        self.tickets = {}  # ticket -> number
        self.again = 0  # receipts that were told twice
        self.handed_again = 0  # events that a later process handed over once more
        self.told = {}  # number -> tickets for which the running process got a receipt
        self.repeated = collections.Counter()  # number -> how often it was handed over again
        self.wrong = []

    def on_boot(self):
        self.told.clear()

    def on_fact(self, kind, words):
        if kind == "S":
            self.intended.append((int(words[0]), int(words[1])))
        elif kind == "H":
            self.handed.append((int(words[0]), int(words[1])))
        elif kind == "Q":
            self.handed_again += int(words[1])
            self.repeated.update(range(int(words[0]), int(words[0]) + int(words[1])))
        elif kind == "R":
            self.on_receipt(*map(int, words))
        else:
            return False
        return True

    def on_receipt(self, number, sequence, reason, logged, duplicate, ticket):
        before = self.receipts.get(number)
        if reason != 0 or not logged:
            self.wrong.append(f"{self.agency}-{number}: refused with reason {reason}")
        told = self.told.setdefault(number, set())
        if ticket in told:
            self.wrong.append(f"{self.agency}-{number}: two receipts for ticket {ticket} in one process")
        told.add(ticket)
        # The spool may hold what an earlier process handed over and what it handed over again: a ticket each.
        if len(told) > 1 + self.repeated[number]:
            self.wrong.append(f"{self.agency}-{number}: {len(told)} receipts in one process")
        if before is not None:
            self.again += 1
            if before[0] != sequence:
                self.wrong.append(f"{self.agency}-{number}: receipted at {before[0]}, then at {sequence}")
        if self.tickets.setdefault(ticket, number) != number:
            self.wrong.append(f"{self.agency}-{number}: ticket {ticket} is of {self.tickets[ticket]}")
        self.receipts[number] = (sequence, reason, logged, duplicate)

    def handed_numbers(self):
        return {n for first, count in self.handed for n in range(first, first + count)}

    def intended_numbers(self):
        return {n for first, count in self.intended for n in range(first, first + count)}

    def expected(self, recipient):
        """-> id -> sequence of what was receipted for a recipient"""
        out = {}
        for number, (sequence, *_) in self.receipts.items():
            who = number % self.subjects % (len(self.recipients) + 1)
            if who == 0 or self.recipients[who - 1] == recipient:
                out[f"{self.agency}-{number}"] = sequence
        return out


class Received(Facts):
    """A receiver's record. `excused`: handed over by a process that was killed before its ack was in the spool: those,
    and nothing else, may come once more, and before anything later of their subject."""

    def __init__(self, path, agency, subjects):
        super().__init__(path)
        self.agency, self.subjects = agency, subjects
        self.deliveries = {}  # id -> (inbox number, sequence)
        self.order = {}  # subject -> place of the newest
        self.unsure, self.excused = {}, {}
        self.taken = []  # by the running process, in order, without those whose acks are known to be durable
        self.acked = 0  # how many those are
        self.again = self.leases_lost = 0
        self.wrong = []

    def on_boot(self):
        self.excused.update(self.unsure)
        self.unsure, self.taken, self.acked = {}, [], 0

    def on_fact(self, kind, words):
        if kind == "A":
            durable = int(words[0])
            for event in self.taken[: durable - self.acked]:
                self.unsure.pop(event, None)
            self.taken, self.acked = self.taken[durable - self.acked :], durable
        elif kind == "L":
            self.leases_lost += 1
        elif kind == "D":
            self.on_delivery(int(words[0]), int(words[1]), int(words[2]), words[3] != "0", words[4])
        else:
            return False
        return True

    def on_delivery(self, number, sequence, attempt, replay, event):
        sender, _, n = event.rpartition("-")
        place, subject = divmod(int(n), self.subjects)
        key = (sender, subject)
        if replay:
            self.wrong.append(f"{event}: marked as a replay")
        if event in self.deliveries:
            self.again += 1
            if self.deliveries[event] != (number, sequence):
                self.wrong.append(f"{event}: came as {self.deliveries[event]}, then as {(number, sequence)}")
            if self.excused.pop(event, None) is None:
                where = f"line {self.lines}, attempt {attempt}"
                self.wrong.append(f"{event}: delivered twice, and the first time was acked ({where})")
            elif attempt < 2:
                self.wrong.append(f"{event}: came again as attempt {attempt}")
        elif subject:
            if self.order.get(key, -1) >= place:
                self.wrong.append(f"{event}: came behind {sender}-{self.order[key] * self.subjects + subject}")
            self.order[key] = place
            # What was excused of this subject and did not come by now must not come any more.
            self.excused = {e: k for e, k in self.excused.items() if k != key}
        self.deliveries[event] = (number, sequence)
        self.unsure[event] = key
        self.taken.append(event)
