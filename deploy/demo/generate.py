#!/usr/bin/env python3
"""Files for the demo where no real ones are at hand: the same kinds, counts, steps and delays, and the same traps.

usage: generate.py FOLDER

The counts of each sequence of steps and the quantiles of the delays are those measured on the real logs; everything else
is made by a seeded generator, so that every run makes the same files. Nothing in them is anybody's data.
"""
import csv
import datetime
import json
import pathlib
import random
import sys

SEED = 20260609
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

STEPS = {
    "C": "Confirmation of receipt", "T02": "T02 Check confirmation of receipt", "T03": "T03 Adjust confirmation of receipt",
    "T04": "T04 Determine confirmation of receipt", "T05": "T05 Print and send confirmation of receipt",
    "T06": "T06 Determine necessity of stop advice", "T07": "T07-1 Draft intern advice aspect 1",
    "T08": "T08 Draft and send request for advice", "T09": "T09-3 Process or receive external advice from party 3",
    "T10": "T10 Determine necessity to stop indication", "T11": "T11 Create document X request unlicensed",
    "T12": "T12 Check document X request unlicensed", "T14": "T14 Determine document X request unlicensed",
    "T15": "T15 Print document X request unlicensed", "T16": "T16 Report reasons to hold request",
    "T17": "T17 Check report Y to stop indication", "T19": "T19 Determine report Y to stop indication",
    "T20": "T20 Print report Y to stop indication",
}
VARIANTS = [  # 1,434 dossiers
    (713, "C T02 T04 T05 T06 T10"), (123, "C T06 T10 T02 T04 T05"), (116, "C"), (115, "C T02 T06 T10 T04 T05"),
    (75, "C T02 T04 T06 T10 T05"), (40, "C T06 T02 T04 T05 T10"), (28, "C T02 T06 T04 T05 T10"),
    (30, "C T02 T04 T05 T06 T10 T11 T12 T14 T15"), (13, "C T06 T02 T10 T04 T05"), (12, "C T02 T04 T05 T06"),
    (12, "C T02 T04 T06 T05 T10"), (16, "C T02 T04 T05 T06 T10 T16 T17 T19 T20"), (10, "C T02 T06 T04 T10 T05"),
    (8, "C T06 T10 T02 T03 T02 T04 T05"), (7, "C T02 T04 T05"), (6, "C T06 T02 T04 T10 T05"),
    (10, "C T02 T03 T02 T04 T05 T06 T10"), (4, "C T06 T02"), (78, "C T02 T04 T06 T07 T06 T07 T06 T10 T05"),
    (18, "C T02 T06 T07 T08 T09 T06 T10 T04 T05"),
]
FAST = (5, 15, 20, 36, 450, 130000, 900000)
DELAYS = {  # seconds after the step before, at the quantiles; "C": after the dossier's start
    "C": (0, 400432, 802186, 1604298, 2536151, 3766889, 7000000), "T03": (10, 18, 65, 501, 167243, 2170584, 3000000),
    "T05": (5, 13, 18, 36, 12715, 270319, 900000), "T06": (5, 15, 21, 46, 732, 426438, 1500000),
    "T10": (5, 17, 21, 32, 88, 592, 100000), "T11": (5, 15, 507, 1302, 67833, 780099, 1500000),
    "T15": (5, 13, 15, 9857, 413485, 1014404, 2000000),
}
COMMUNES = 161


def draw(random_, points):
    """A value whose quantiles are `points`."""
    at = random_.random()
    for (low, high), (a, b) in zip(zip(QUANTILES, QUANTILES[1:]), zip(points, points[1:])):
        if at <= high:
            return a + (b - a) * (at - low) / (high - low)
    return points[-1]


def moment(when):
    """With the offset of its season, as a European log writes it."""
    hours = 2 if 4 <= when.month <= 10 else 1
    return (when + datetime.timedelta(hours=hours)).isoformat(" ", "milliseconds") + f"+0{hours}:00"


def dossiers(folder, random_):
    cases = [variant.split() for count, variant in VARIANTS for _ in range(count)]
    random_.shuffle(cases)
    endless = set(random_.sample(range(len(cases)), 105))
    task = 40000
    with open(folder / "wabo_receipt.csv", "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["case:channel", "case:concept:name", "case:deadline", "case:department", "case:enddate", "case:group",
                        "case:startdate", "concept:instance", "concept:name", "org:group", "time:timestamp"])
        for index, steps in enumerate(cases):
            start = datetime.datetime(2010, 9, 1) + datetime.timedelta(seconds=random_.randrange(480 * 86400))
            deadline = start + datetime.timedelta(days=55)
            end = "" if index in endless else moment(start + datetime.timedelta(days=draw(random_, (1, 20, 35, 50, 72, 105, 300))))
            channel = random_.choices(["Internet", "Desk", "Post", "e-mail", "Intern"], [1250, 109, 53, 21, 1])[0]
            group = random_.choices(["", "Group 5", "Group 8", "Group 2", "Group 11"], [825, 329, 227, 32, 21])[0]
            when = start
            for step in steps:
                when += datetime.timedelta(seconds=max(1, draw(random_, DELAYS.get(step, FAST))))
                task += 1
                table.writerow([channel, f"case-{10000 + index}", moment(deadline), "General", end, group, moment(start),
                                f"task-{task}", STEPS[step], f"Group {random_.randrange(1, 5)}", moment(when)])


def requests(folder, random_):
    """Local times without an offset; two of seven without an end, two of five without a deadline."""
    with open(folder / "requests.csv", "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["case_enquiry_id", "open_dt", "sla_target_dt", "closed_dt", "on_time", "case_title", "reason", "source"])
        for index in range(7494):
            opened = datetime.datetime(2016, 1, 1) + datetime.timedelta(seconds=index * 4200 + random_.randrange(4000))
            target = opened + datetime.timedelta(hours=draw(random_, (10, 24, 24, 62, 106, 2880, 2900)))
            closed = opened + datetime.timedelta(hours=draw(random_, (0.1, 0.3, 0.7, 2.1, 25.3, 117.2, 2849.7)))
            has_target, has_end = random_.random() < 0.598, random_.random() < 0.715
            overdue = has_target and random_.random() < 0.147
            closed = max(closed, target + datetime.timedelta(hours=1)) if overdue else min(closed, target) if has_target else closed
            title, reason = random_.choice([("Street light", "Street Lights"), ("Fallen tree", "Trees"), ("Noise", "Health")])
            table.writerow([101001685698 + index, opened, target.replace(microsecond=0) if has_target else "",
                            closed.replace(microsecond=0) if has_end else "", "OVERDUE" if overdue else "ONTIME", title, reason,
                            random_.choice(["Constituent Call", "Citizens Connect App", "Self Service"])])


def permits(folder, random_):
    """Days without hour or offset, a few descriptions of several lines, many permits not issued yet."""
    with open(folder / "permits.csv", "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["PermitNum", "PermitClass", "PermitTypeDesc", "Description", "HousingUnits", "EstProjectCost",
                        "AppliedDate", "IssuedDate", "ExpiresDate", "CompletedDate", "RelatedMup", "Latitude", "Longitude"])
        for index in range(6150):
            applied = datetime.date(2022, 1, 1) + datetime.timedelta(days=random_.randrange(650))
            issued = applied + datetime.timedelta(days=int(draw(random_, (0, 0, 1, 21, 91, 196, 404))))
            done = issued + datetime.timedelta(days=int(draw(random_, (1, 15, 83, 176, 294, 393, 538))))
            has_issue = random_.random() < 0.82
            has_end = has_issue and random_.random() < 0.252
            text = "Alter existing building, per plans."
            if index % 2050 == 7:
                text = 'Alter existing building,\nsecond "main" floor only.'
            table.writerow([f"{6000000 + index}-CN", "Residential", random_.choice(["New", "Addition/Alteration", "Demolition", ""]),
                            text, "1.0", f"{random_.randrange(1000, 900000)}.0", applied, issued if has_issue else "",
                            issued + datetime.timedelta(days=545) if has_issue else "", done if has_end else "", "",
                            f"{47.5 + random_.random() / 5:.6f}", f"{-122.4 + random_.random() / 5:.6f}"])


def parcels(folder, random_):
    """One feature a line; one parcel without an area."""
    lines = []
    for index in range(4241):
        x, y = 106.0 + (index % 65) * 0.001, 22.6 + (index // 65) * 0.001
        ring = [[round(x + dx, 6), round(y + dy, 6)] for dx, dy in ((0, 0), (0.0009, 0), (0.0009, 0.0008), (0, 0.0008), (0, 0))]
        created = datetime.date(2005, 1, 1) + datetime.timedelta(days=random_.randrange(5000))
        properties = {"id": f"04000{index // 200:03d}AB{index:04d}", "section": f"{chr(65 + index // 400)}B", "numero": str(index),
                      "contenance": random_.randrange(50, 9000), "arpente": index % 3 == 0, "created": str(created),
                      "updated": str(created + datetime.timedelta(days=random_.randrange(1, 2000)))}
        if index == 1000:
            del properties["contenance"]
        lines.append(json.dumps({"type": "Feature", "id": properties["id"], "geometry": {"type": "Polygon", "coordinates": [ring]},
                                 "properties": properties}, separators=(",", ":")))
    (folder / "parcels.geojson").write_text('{"type":"FeatureCollection","features":[\n' + ",\n".join(lines) + "]}")


def procedures(folder, field, count, first):
    """Limits and fees run together as text; one number has no unit."""
    for index in range(count):
        limit = "1" if index == 13 else f"{5 + index % 30} Ngày làm việc"
        (folder / f"1.{first + index:06d}.json").write_text(json.dumps({
            "ma_thu_tuc": f"1.{first + index:06d}", "ten_thu_tuc": f"Thủ tục thử {index + 1}", "linh_vuc": field,
            "so_quyet_dinh": "", "cap_thuc_hien": "Cấp tỉnh",
            "cach_thuc_thuc_hien": f"Trực tuyến{limit}Miễn phíTrực tiếp{7 + index % 20} NgàyMiễn phí",
            "ket_qua_xu_ly": f"Kết quảMã: KQ.G00.{index:06d}Từ khóa"}, ensure_ascii=False))


def units(folder):
    """Codes that name another place after 2025-07-01: the same codes, other names, and fewer of them."""
    codes = [f"{code:05d}" for code in range(1267, 1267 + 3 * COMMUNES, 3)]
    before = [{"Code": "04", "District": [{"Code": "040", "Ward": [{"Code": c, "FullName": f"Xã cũ {c}"} for c in codes]}]}]
    after = [{"Code": "04", "Wards": [{"Code": c, "FullName": f"Xã mới {c}"} for c in codes[::3]]}]
    (folder / "pre-2025-07-01_made.json").write_text(json.dumps(before, ensure_ascii=False))
    (folder / "post-2025-07-01_made.json").write_text(json.dumps(after, ensure_ascii=False))


def main():
    root = pathlib.Path(sys.argv[1])
    random_ = random.Random(SEED)
    folders = {}
    for name in ("event-logs-nc", "one-stop-311", "permits", "parcels", "vn-tthc/dat-dai", "vn-tthc/hoat-dong-xay-dung",
                 "vn-admin-units"):
        folders[name] = root / name
        folders[name].mkdir(parents=True)
    dossiers(folders["event-logs-nc"], random_)
    requests(folders["one-stop-311"], random_)
    permits(folders["permits"], random_)
    parcels(folders["parcels"], random_)
    procedures(folders["vn-tthc/dat-dai"], "Đất đai", 49, 12751)
    procedures(folders["vn-tthc/hoat-dong-xay-dung"], "Hoạt động xây dựng", 22, 13216)
    units(folders["vn-admin-units"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
