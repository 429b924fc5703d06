# SPDX-License-Identifier: Apache-2.0
"""Experiments for a machine that no engine class can start: a raw image to boot, and its lines made a recording."""

import argparse
import json
import sys

import batch
import engines

def read_vectors(path):
    with open(path, encoding="utf-8") as file:
        header, *cases = (json.loads(line) for line in file if line.strip())
    return header, cases


def runnable(layout, cases):
    return [(index, case) for index, case in enumerate(cases) if batch.refuse(layout, case) is None]


def write_image(arguments):
    """`image`: boot code, payload and batch, for a disk or a memory stick."""
    if arguments.vectors:
        header, cases = read_vectors(arguments.vectors)
        layout = batch.Layout(header)
        numbered = runnable(layout, cases)
    else:
        layout, cases, numbered = batch.Layout(engines.CAPTURE_HEADER), [None], [(0, {"kind": "capture"})]
    data = engines.make_image(engines.find_payload(arguments.payload), batch.encode(layout, numbered))
    with open(arguments.output, "wb") as file:
        file.write(data)
    return {"image": arguments.output, "bytes": len(data), "cases": len(numbered), "refused": len(cases) - len(numbered)}


def read_lines(path):
    with open(path, encoding="ascii", errors="replace") as file:
        lines = [line.replace("\0", "").strip() for line in file]
    return {int(line.split()[0]): line for line in lines if line[:1].isdigit() and line.split()[0].isdigit()}


def write_answers(arguments):
    """`answers`: a recording, or the profile of the machine, from the lines that the image printed."""
    lines = read_lines(arguments.log)
    with open(arguments.output, "w", encoding="utf-8") as file:
        if not arguments.vectors:
            json.dump(batch.decode_profile(lines[0]), file)
            file.write("\n")
            return {"output": arguments.output, "profile": True}
        header, cases = read_vectors(arguments.vectors)
        layout = batch.Layout(header)
        answered = [{**case, "expect": batch.decode(layout, case, lines[index])}
                    for index, case in enumerate(cases) if index in lines]
        source = {**header.get("source", {}), "engine": "bare-metal"}
        for entry in [{**header, "source": source}, *answered]:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
    return {"output": arguments.output, "answered": len(answered), "missing": len(cases) - len(answered)}


def parse_arguments():
    parser = argparse.ArgumentParser(prog="machine.py", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    image = commands.add_parser("image", help=write_image.__doc__)
    image.add_argument("--vectors", help="file of experiments; without it the image prints the machine's profile")
    image.add_argument("--payload", help="directory of the built payload")
    image.add_argument("output", help="the raw image")
    image.set_defaults(run=write_image)
    answers = commands.add_parser("answers", help=write_answers.__doc__)
    answers.add_argument("--vectors", help="the file of experiments that the image was made of")
    answers.add_argument("log", help="what came out of the serial port")
    answers.add_argument("output", help="the recording, or the profile")
    answers.set_defaults(run=write_answers)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    try:
        done = arguments.run(arguments)
    except (OSError, ValueError, KeyError, engines.EngineUnavailable) as problem:
        sys.exit(f"machine.py: {type(problem).__name__}: {problem}")
    print(json.dumps(done) if arguments.json else ", ".join(f"{key} {value}" for key, value in done.items()))


if __name__ == "__main__":
    main()
