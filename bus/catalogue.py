#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/messages.md, the catalogue of all messages, from proto/*.proto and the table in bus/permissions.c.

    bus/catalogue.py            writes it
    bus/catalogue.py --check    exits with 1 if it is not what would be written
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "messages.md"
OWNERS = [
    ("service", "Every service"),
    ("coordinator", "vpnsip-coordinator"),
    ("sip_agent", "sip-agent"),
    ("ike_agent", "ike-agent"),
    ("tunnel_agent", "tunnel-agent"),
    ("track_agent", "track-agent"),
    ("nat_qos_agent", "nat-qos-agent"),
    ("shared", "Shared types"),
]
SENDERS = {
    "COORDINATOR": "vpnsip-coordinator",
    "SIP_AGENT": "sip-agent",
    "IKE_AGENT": "ike-agent",
    "TUNNEL_AGENT": "tunnel-agent",
    "TRACK_AGENT": "track-agent",
    "NAT_QOS_AGENT": "nat-qos-agent",
    "CLI": "vpnsip",
    "SERVICES": "any service",
    "ANYBODY": "anybody",
}
FIELD = re.compile(r"\s*(repeated )?([\w.]+) (\w+) = (\d+);\s*(?://\s*(.*))?$")
RESERVED = re.compile(r"\s*reserved \d+(, \d+)*;$")
VALUE = re.compile(r"\s*(\w+) = (\d+);\s*(?://\s*(.*))?$")
OPENING = re.compile(r"(message|enum) (\w+) \{(\})?")
CALL = re.compile(r"\b(FACT|(?:ROOT_|SHED_|PACKET_)?ORDER|(?:SHED_)?ORDER_WITH|READING|REPLY)"
                  r"\((\w+), ([\w\s|]+?)(?:, ([A-Z]\w+))?(?:, ([A-Z]\w+))?(?:, (\d+))?\)[,;]")
SPELLED = re.compile(
    r"\.body = BODY\((\w+)\),\s*\.kind = VPNSIP__ENVELOPE_KIND__(\w+),\s*\.senders = (\w+),"
    r"\s*\.receivers = (\w+),\s*\.reply_rule = (\w+),(?:\s*\.reply = BODY\((\w+)\),)?"
)


class Definition:
    """A message or enum of a .proto file."""

    def __init__(self, kind, name, comment):
        self.kind, self.name, self.comment = kind, name, comment
        self.rows = []  # (name, type or number, meaning)


def camel(snake):
    return "".join(part.capitalize() for part in snake.lower().split("_"))


def read_proto(path):
    """The definitions of one file, in its order."""
    definitions, comment, current = [], [], None
    for line in path.read_text().splitlines():
        if current is None:
            opening = OPENING.match(line)
            if line.startswith("//"):
                comment.append(line[2:].strip())
            elif opening:
                current = Definition(opening[1], opening[2], " ".join(comment))
                definitions.append(current)
                comment = []
                if opening[3]:
                    current = None
            else:
                comment = []
        elif line == "}":
            current = None
        elif current.kind == "enum" and (row := VALUE.match(line)):
            current.rows.append([row[1], row[2], row[3] or ""])
        elif current.kind == "message" and (row := FIELD.match(line)):
            kind = f"list of {row[2]}" if row[1] else row[2]
            current.rows.append([row[3], kind, row[5] or ""])
        elif current.rows and line.strip().startswith("//"):
            current.rows[-1][2] += " " + line.strip()[2:].strip()
        elif line.strip() and not RESERVED.match(line):
            sys.exit(f"{path.name}: cannot read: {line}")
    return definitions


def read_numbers():
    """{message: number} of the bodies in the envelope."""
    text = (ROOT / "proto" / "envelope.proto").read_text()
    oneof = text[text.index("oneof body {"):]
    return {name: int(number) for name, number in re.findall(r"(\w+) \w+ = (\d+);", oneof)}


def read_permissions():
    """{message: (kind, senders, receivers, answer)}"""
    text = (ROOT / "bus" / "permissions.c").read_text()
    table = text[text.index("permissions[] = {"):text.index("#define PERMISSION_COUNT")]
    permissions = {}
    for macro, body, senders, receivers, answer, _ in CALL.findall(table):
        if macro == "FACT":
            permissions[camel(body)] = ("event", SENDERS[senders], "subscribers", "")
        elif macro == "REPLY":
            permissions[camel(body)] = ("reply", SENDERS[senders], SENDERS[receivers], "")
        else:
            kind = {"ROOT": "order, root only", "SHED": "order, may be shed", "PACKET": "order, may be shed"}.get(macro.split("_")[0], "order")
            permissions[camel(body)] = (kind, SENDERS[senders], SENDERS[receivers],
                                        camel(answer) if answer else "Done")
    for body, kind, senders, receivers, rule, answer in SPELLED.findall(table):
        permissions[camel(body)] = ("order", SENDERS[senders], SENDERS[receivers],
                                    camel(answer) if answer else "the owner's ...Snapshot")
    return permissions


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return lines


def describe(definition, numbers, permissions):
    lines = [f"### {definition.name}", ""]
    if definition.name in numbers:
        kind, senders, receivers, answer = permissions[definition.name]
        kind, _, note = kind.partition(", ")
        lines.append(f"*{kind.capitalize()} {numbers[definition.name]}{f' ({note})' if note else ''}, {senders} → {receivers}"
                     + (f", answered with {answer}" if answer else "") + "*")
        lines.append("")
    if definition.comment:
        lines += [definition.comment, ""]
    if definition.rows:
        head = ("field", "type", "meaning") if definition.kind == "message" else ("value", "number", "meaning")
        lines += table(head, definition.rows) + [""]
    return lines


def catalogue():
    numbers, permissions = read_numbers(), read_permissions()
    if missing := numbers.keys() ^ permissions.keys():
        sys.exit("only in one of envelope.proto and permissions.c: " + ", ".join(sorted(missing)))
    files = {name: read_proto(ROOT / "proto" / f"{name}.proto") for name, _ in OWNERS}
    lines = [
        "# Messages",
        "",
        "Every message on the bus: the interface between the processes. Generated by `bus/catalogue.py` from `proto/` and the table in",
        "`bus/permissions.c`; both ends of the bus check that table. An order that fails is answered with Failed. How the messages play",
        "together is in [architecture.md](architecture.md).",
        "",
    ]
    rows = []
    for name, _ in OWNERS:
        for definition in files[name]:
            if definition.name in numbers:
                kind, senders, receivers, answer = permissions[definition.name]
                rows.append((str(numbers[definition.name]), f"[{definition.name}](#{definition.name.lower()})",
                             kind, senders, receivers, answer))
    rows.sort(key=lambda row: int(row[0]))
    lines += table(("number", "message", "kind", "from", "to", "answer"), rows) + [""]
    for name, title in OWNERS:
        lines += [f"## {title}", ""]
        for definition in files[name]:
            lines += describe(definition, numbers, permissions)
    return "\n".join(lines).rstrip() + "\n"


def main():
    text = catalogue()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
    elif not TARGET.exists() or TARGET.read_text() != text:
        sys.exit(f"{TARGET.relative_to(ROOT)} is out of date: run bus/catalogue.py")


if __name__ == "__main__":
    main()
