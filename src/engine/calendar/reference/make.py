#!/usr/bin/env python3
"""Writes cases.csv: what the hours of calendars come to around changes of the clocks, by Python's zoneinfo.

Nothing here is shared with Hoist: membership is read off the local reading of every minute, and the next opening is found
by walking minute by minute. Run it as `python3 make.py > cases.csv`; it says with which release of the database.
"""

import datetime as dt
import pathlib
import zoneinfo

UTC = dt.timezone.utc
MINUTE = dt.timedelta(minutes=1)
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

# Each zone with days around which its clocks change, are far from UTC, or a leap day comes.
ZONES = {
    "Europe/Berlin": ["2025-03-30", "2025-10-26", "2024-02-29"],
    "Europe/London": ["2025-03-30", "2026-10-25"],
    "America/New_York": ["2025-03-09", "2025-11-02", "2024-12-31"],
    "America/Los_Angeles": ["2026-03-08", "2026-11-01"],
    "America/St_Johns": ["2010-03-14", "2010-11-07", "2025-03-09"],
    "America/Sao_Paulo": ["2018-11-04", "2019-02-17"],
    "Australia/Lord_Howe": ["2025-04-06", "2025-10-05"],
    "Asia/Tehran": ["2021-03-22", "2021-09-22"],
    "Africa/Casablanca": ["2025-02-23", "2025-04-06"],
    "Pacific/Apia": ["2011-12-30", "2011-09-24", "2012-04-01"],
    "America/Havana": ["2025-03-09", "2025-11-02"],
    "Asia/Kathmandu": ["2025-01-01"],
}

# Windows as days, from, to; freezes as first and last day of every year, or first and last local day.
CALENDARS = {
    "office": ([("Mon-Fri", "09:00", "17:00")], [], []),
    "night": ([("Mon-Sun", "22:00", "02:30")], [], []),
    "small": ([("Mon-Sun", "02:15", "02:45"), ("Sat-Sun", "00:00", "00:30")], [], []),
    "weekend": ([("Sat-Sun", "00:00", "24:00")], [], []),
    "sunday-night": ([("Sun-Sun", "23:30", "03:00")], [], []),
    "winter": ([("Mon-Sun", "08:00", "20:00")], [("12-20", "01-03"), ("02-29", "02-29")], []),
    "frozen": ([], [], [("2025-03-09", "2025-03-10"), ("2025-10-25", "2025-10-26"), ("2011-12-29", "2011-12-30")]),
}


def minutes(text):
    return int(text[:2]) * 60 + int(text[3:])


def in_window(local, window):
    days, start, end = window
    first, last = (DAYS.index(day) for day in days.split("-"))
    start, end = minutes(start), minutes(end)
    now = local.hour * 60 + local.minute
    listed = lambda day: first <= day % 7 <= last
    if start < end:
        return listed(local.weekday()) and start <= now < end
    return (listed(local.weekday()) and now >= start) or (listed(local.weekday() - 1) and now < end)


def in_year(local, freeze):
    day = local.strftime("%m-%d")
    start, end = freeze
    return start <= day <= end if start <= end else day >= start or day <= end


def is_open(calendar, zone, at):
    windows, yearly, fixed = CALENDARS[calendar]
    local = at.astimezone(zone)
    day = local.strftime("%Y-%m-%d")
    frozen = any(in_year(local, f) for f in yearly) or any(a <= day <= b for a, b in fixed)
    return not frozen and (not windows or any(in_window(local, w) for w in windows))


def next_change(calendar, zone, at):
    """The first minute after this one at which the answer is another, within twenty days."""
    now = is_open(calendar, zone, at)
    for _ in range(20 * 24 * 60):
        at += MINUTE
        if is_open(calendar, zone, at) != now:
            return at
    return None


def main():
    release = pathlib.Path("/usr/share/zoneinfo/tzdata.zi").read_text().split("\n")[0].split()[-1]
    print(f"# zoneinfo {release}: zone,calendar,moment,open,next change")
    stamp = lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else "-"
    for name, days in ZONES.items():
        zone = zoneinfo.ZoneInfo(name)
        for day in days:
            noon = dt.datetime.fromisoformat(day + "T12:00:00").replace(tzinfo=UTC)
            for calendar in CALENDARS:
                seen = set()
                # Every three hours from a day and a half before to a day and a half after, and each minute of change.
                for step in range(-12, 13, 3):
                    at = noon + dt.timedelta(hours=3 * step, minutes=7 * step)
                    for _ in range(2):
                        change = next_change(calendar, zone, at)
                        if at not in seen:
                            seen.add(at)
                            print(f"{name},{calendar},{stamp(at)},{int(is_open(calendar, zone, at))},{stamp(change)}")
                        if change is None or abs(change - noon) > dt.timedelta(days=3):
                            break
                        at = change


main()
