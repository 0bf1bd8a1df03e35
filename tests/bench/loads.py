"""Rows of the bench: a hub, its senders and subscribers, and what is measured of them."""

import json
import pathlib
import subprocess
import tempfile
import time

from harness import Hub, PeakMemory, fail, machine_cpu, memory, private_mib, read_line, run, threads_cpu

TYPE = "bench.event.v1"
CROWD_MOST = 2000  # sessions of one crowd process: each takes five descriptors
LIMIT_MIB, LIMIT_SESSION_KIB = 256, 96


class Row:
    """One line of the table: a load, and what the model does to be like it."""

    def __init__(self, name, size=1024, senders=4, window=1000, seal=0, flights=0, rate=0, subscribers=1, unsynced=False, credit=0,
                 seconds=1.0, verify=False, model=None, crowd=0, beside=None):
        self.name, self.size, self.senders, self.window = name, size, senders, window
        self.seal, self.flights, self.rate = seal, flights, rate
        self.subscribers, self.unsynced, self.seconds = subscribers, unsynced, seconds
        self.verify, self.model, self.credit = verify, model, credit
        self.crowd = crowd    # agencies that are connected beside them and say nothing
        self.beside = beside  # the row with which it is compared


ROWS = [
    Row("1 KiB, full seals", seconds=2.0, verify=True, model=("4", "1024", {})),
    Row("1 KiB, full seals, spool not synced", unsynced=True),
    Row("256 B, full seals", size=256, model=("4", "256", {})),
    Row("16 KiB, full seals", size=16384, model=("4", "16384", {})),
    Row("1 KiB, seals of 1", senders=2, seal=1, flights=64, verify=True, model=("2", "1024", {"B": "1", "INFLIGHT": "1000"})),
    Row("1 KiB, seals of 1, spool not synced", senders=2, seal=1, flights=64, unsynced=True),
    Row("1 KiB, one event to 20", subscribers=20, model=("4", "1024", {"SUBS": "20"})),
    Row("1000 single events/s", senders=2, seal=1, flights=64, rate=1000, model=("2", "1024", {"B": "1", "RATE": "1000"})),
    Row("20 agencies busy", senders=20),
    Row("20 agencies busy of 1,000", senders=20, crowd=980, beside="20 agencies busy"),
]
FULL_ROWS = [Row("20 agencies busy of 5,000", senders=20, crowd=4980, beside="20 agencies busy")]


# ---- figures --------------------------------------------------------------------------------------------------------


def merge(histograms):
    out = {}
    for histogram in histograms:
        for low, count in histogram:
            out[low] = out.get(low, 0) + count
    return sorted(out.items())


def percentile(histogram, share):
    total = sum(n for _, n in histogram)
    at = 0
    for low, count in histogram:
        at += count
        if at >= share * total:
            return low / 1000
    return 0.0


def latencies(histogram):
    """milliseconds"""
    return {f"p{p}": percentile(histogram, p / 100) for p in (50, 90, 99, 99.9)}


def enrol(hub, row):
    """-> profiles of senders, of receivers"""
    hub.grant()
    receivers = [hub.agency(f"R{i + 1}", "receivers") for i in range(row.subscribers)]
    return [hub.agency(f"S{i + 1}", "senders") for i in range(row.senders)], receivers


def start_load(processes, profiles, row, load, **kw):
    to = "R1" if row.subscribers == 1 else ""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **kw}
    receivers = [processes.start([load, "recv", profile, f"credit={row.credit}"] + ([] if to else [f"subscribe={TYPE}"]), **pipes)
                 for profile in profiles[1]]
    senders = [processes.start(
        [load, "send", profile, f"size={row.size}", f"window={row.window}", f"seal={row.seal}", f"flights={row.flights}",
         f"rate={row.rate // row.senders}", f"to={to}", f"unsynced={int(row.unsynced)}"], **pipes) for profile in profiles[0]]
    for process in receivers + senders:
        read_line(process, 60)
    return senders, receivers


def start_crowd(hub, processes, count):
    """Agencies that are enrolled, connect and wait. -> processes, private KiB of the hub for each of their sessions"""
    crowds = []
    parts = [min(CROWD_MOST, count - at) for at in range(0, count, CROWD_MOST)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    for i, part in enumerate(parts):  # one after the other: they share the administrator's spool
        crowds.append(processes.start([hub.build / "tests" / "bench" / "crowd", hub.home / "admin-1", f"C{i + 1}.", part], **pipes))
        read_line(crowds[-1], 120)
        if i == 0:
            before = private_mib(hub.process.pid)
        read_line(crowds[-1], 180)
    return crowds, (private_mib(hub.process.pid) - before) * 1024 / count if crowds else 0.0


def stop_crowd(processes, crowds):
    for process in crowds:
        process.stdin.close()
        told = json.loads(read_line(process, 60))
        process.wait(120)
        processes.stop(process)
        if told["lost"]:
            fail(f"agencies that only waited lost their sessions: {told}")


def finish(processes, senders, receivers):
    sent = [json.loads(read_line(p, 120)) for p in senders]
    accepted = sum(s["accepted"] for s in sent)
    for p in receivers:
        p.stdin.write(f"{accepted}\n".encode())
        p.stdin.flush()
    got = [json.loads(read_line(p, 120)) for p in receivers]
    for p in senders + receivers:
        p.wait(30)
        processes.stop(p)
    return sent, got, accepted


def go(processes, begin, start, end):
    for p in processes:
        p.stdin.write(f"{int(begin * 1e6)} {int(start * 1e6)} {int(end * 1e6)}\n".encode())
        p.stdin.flush()


def measure_on(hub, profiles, row, args, processes):
    """A row on a hub that runs and whose agencies are enrolled."""
    pid, idle = hub.process.pid, private_mib(hub.process.pid)
    senders, receivers = start_load(processes, profiles, row, args.build / "tests" / "bench" / "load")
    crowds, session_kib = start_crowd(hub, processes, row.crowd)
    before = hub.status()["counters"]
    begin = time.monotonic() + 0.2
    start, seconds = begin + args.warm, args.seconds * row.seconds
    go(senders + receivers, begin, start, start + seconds)
    peak = PeakMemory(pid)
    time.sleep(max(0.0, start - time.monotonic()))
    cpu, machine, at = threads_cpu(pid), machine_cpu(), time.monotonic()
    if args.perf and row.name == args.perf:
        perf(args, processes, pid, senders[0].pid, receivers[0].pid, seconds)
    time.sleep(max(0.0, start + seconds - time.monotonic()))
    cpu_end, machine_end, wall = threads_cpu(pid), machine_cpu(), time.monotonic() - at
    used = memory(pid)
    sent, got, accepted = finish(processes, senders, receivers)
    after = hub.status()["counters"]
    stop_crowd(processes, crowds)
    result = figures(row, seconds, wall, sent, got, accepted, before, after)
    result["hub_threads_us"] = by_thread(cpu, cpu_end, result["receipted_per_s"] * wall)
    result["us_hub"] = sum(result["hub_threads_us"].values())
    result["us_all"] = result["us_hub"] + result["us_senders"] + result["us_subscribers"]
    result["cores_ours"] = result["us_all"] * result["receipted_per_s"] / 1e6
    result["cores_busy"] = (machine_end[0] - machine[0]) / wall
    result["cores_stolen"] = (machine_end[1] - machine[1]) / wall
    result.update(used)
    result["sessions"] = row.senders + row.subscribers + row.crowd
    result["session_kib"] = session_kib
    result["idle_private_mib"], result["peak_private_mib"] = idle, peak.stop()
    result["limit_private_mib"] = LIMIT_MIB + LIMIT_SESSION_KIB * result["sessions"] / 1024
    return result


def measure(row, args, processes, scratch):
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        hub = Hub(args.build, pathlib.Path(folder), processes)
        result = measure_on(hub, enrol(hub, row), row, args, processes)
        hub.stop()
        result["disk_per_payload"] = hub.data_bytes() / max(1, result["events"]) / row.size
        if row.verify:
            result["verify"] = verify(hub, result["events"])
        return result


def by_thread(before, after, events):
    """CPU of the hub's threads in microseconds an event; threads of one name together."""
    out = {}
    for task, (name, seconds) in after.items():
        out[name] = out.get(name, 0.0) + (seconds - before.get(task, (name, 0.0))[1]) * 1e6 / max(1, events)
    return {name: us for name, us in sorted(out.items(), key=lambda x: -x[1]) if us >= 0.005}


def figures(row, seconds, wall, sent, got, accepted, before, after):
    delta = {k: after[k] - before[k] for k in before}
    for name, them in (("sender", sent), ("subscriber", got)):
        for i, one in enumerate(them):
            if name == "sender" and (one["refused"] or one["accepted"] != one["submitted"]):
                fail(f"{row.name}: sender {i + 1}: {one['submitted']} submitted, {one['accepted']} accepted, "
                     f"{one['refused']} refused")
            if name == "subscriber" and one["delivered"] - one["redelivered"] != accepted:
                fail(f"{row.name}: subscriber {i + 1}: {accepted} events, {one['delivered']} delivered, "
                     f"{one['redelivered']} of them again")
    receipted = sum(s["in_window"] for s in sent) / seconds
    delivered = sum(g["in_window"] for g in got) / seconds
    return {
        "row": row.name, "seconds": seconds, "events": accepted,
        "receipted_per_s": receipted, "delivered_per_s": delivered,
        "events_per_seal": delta["events"] / max(1, delta["seals"]),
        "events_per_commit": delta["events"] / max(1, delta["commits"]),
        "commits_per_s": receipted * delta["commits"] / max(1, delta["events"]),
        "commit_ms": delta["commit_us"] / max(1, delta["commits"]) / 1000,
        "row_bytes_per_event": delta["row_bytes"] / max(1, delta["events"]),
        "cold_reads": delta["cold_reads"],
        "us_senders": sum(s["cpu_us"] for s in sent) / max(1.0, receipted * seconds),
        "us_subscribers": sum(g["cpu_us"] for g in got) / max(1.0, receipted * seconds),
        "receipt_ms": latencies(merge(s["histogram"] for s in sent)),
        "delivery_ms": latencies(merge(g["histogram"] for g in got)),
        "receipt_histogram_us": merge(s["histogram"] for s in sent),
        "delivery_histogram_us": merge(g["histogram"] for g in got),
    }


def verify(hub, events):
    begin = time.monotonic()
    run([hub.build / "truc", "log", "verify", "--home", hub.home, "--json"])
    seconds = time.monotonic() - begin
    return {"events": events, "seconds": seconds, "events_per_s": events / seconds}


def perf(args, processes, hub, sender, receiver, seconds):
    """Profiles of one process of each kind, for a person to read afterwards."""
    out = args.build / "perf"
    out.mkdir(exist_ok=True)
    for name, pid in (("hub", hub), ("sender", sender), ("subscriber", receiver)):
        processes.start(["perf", "record", "-q", "-F", "299", "--call-graph", "dwarf,8192", "-p", pid, "-o", out / f"{name}.data", "--",
                         "sleep", max(1, seconds - 1)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
