"""A hub whose log is long: how it starts, how fast it is then, what a proof takes."""

import json
import pathlib
import statistics
import subprocess
import tempfile
import time

from harness import Hub, private_mib, run
from loads import Row, enrol, go, measure, measure_on, start_load

PROOFS = 2000
ROW = dict(size=1024, senders=4)


def crash_under_load(hub, profiles, row, args, processes):
    """SIGKILL while receipts and deliveries are on their way. -> seconds of the start after it"""
    senders, receivers = start_load(processes, profiles, row, args.build / "tests" / "bench" / "load", stderr=subprocess.DEVNULL)
    begin = time.monotonic() + 0.2
    go(senders + receivers, begin, begin, begin + 600)
    time.sleep(3.2)
    hub.kill()
    for p in senders + receivers:
        p.kill()
        p.wait()
        processes.all.remove(p)
    return hub.start()


def measure_large(events, args, processes, scratch, repeats):
    """Several GB of disk at 10 million events: about 300 bytes an event."""
    row = Row("1 KiB, full seals", **ROW)
    row.credit = args.credit
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        hub = Hub(args.build, pathlib.Path(folder), processes)
        profiles = enrol(hub, row)
        filler, taker = hub.agency("F1", "senders"), hub.agency("F2", "receivers")
        hub.stop()
        began = hub.data_bytes()
        out = json.loads(run([args.build / "tests" / "bench" / "fill", hub.home, filler, taker, events], timeout=7200))
        out["disk_bytes_per_event"] = (hub.data_bytes() - began) / events
        out["disk_mib"] = hub.data_bytes() / 2**20
        out["start_clean_s"] = []
        for _ in range(3):
            out["start_clean_s"].append(hub.start())
            time.sleep(1)
            out["idle_private_mib"] = private_mib(hub.process.pid)
            if len(out["start_clean_s"]) < 3:
                hub.stop()
        first = out["first_sequence"]
        out["proof"] = json.loads(run([args.build / "tests" / "bench" / "prove", taker, PROOFS, first, first + events - 1]))
        out["pairs"] = []
        for _ in range(repeats):
            there = measure_on(hub, profiles, row, args, processes)
            empty = measure(row, args, processes, scratch)
            out["pairs"].append({"large": there["receipted_per_s"], "empty": empty["receipted_per_s"],
                                 "large_hub_us": there["us_hub"], "empty_hub_us": empty["us_hub"],
                                 "peak_private_mib": there["peak_private_mib"]})
        out["rate_ratio"] = statistics.median(p["large"] / p["empty"] for p in out["pairs"])
        out["start_killed_s"] = [crash_under_load(hub, profiles, row, args, processes) for _ in range(2)]
        hub.stop()
        return out


def show_large(r):
    pair = r["pairs"][0]
    print(f"\na log of {r['events']:,} events ({r['seals']:,} seals, {r['event_bytes']:.0f} bytes an event; {r['disk_mib']:,.0f} MiB on disk, "
          f"{r['disk_bytes_per_event']:.0f} bytes an event; filled in {r['seconds']:.0f} s)")
    print("  start after a clean stop  " + ", ".join(f"{s:.2f}" for s in r["start_clean_s"]) + " s (files in the page cache); idle then "
          f"{r['idle_private_mib']:.0f} MiB private")
    print("  start after SIGKILL       " + ", ".join(f"{s:.2f}" for s in r["start_killed_s"]) + " s")
    print(f"  proof of an event         p50 {r['proof']['p50_us'] / 1000:.2f}, p99 {r['proof']['p99_us'] / 1000:.2f} ms, one at a time, until it is verified")
    print(f"  1 KiB, full seals         {pair['large']:,.0f} receipted/s beside {pair['empty']:,.0f} on an empty log: {r['rate_ratio']:.2f} "
          f"(median of {len(r['pairs'])}); hub {pair['large_hub_us']:.1f} beside {pair['empty_hub_us']:.1f} us an event")
