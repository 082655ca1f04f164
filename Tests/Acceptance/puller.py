"""A platform as a process that may be killed at any moment: what it received is durable before its cursor is.

    puller.py PORT TOKEN_FILE FOLDER

Appends every answer to FOLDER/journal, then writes FOLDER/cursor. While FOLDER/hold exists it stops between the two, says
so with FOLDER/holding, and waits for its end.
"""

import os
import pathlib
import signal
import sys

from client import Client


def main():
    port, token_file, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    client = Client(port, token_file.read_text().strip())
    cursor = folder / "cursor"
    if cursor.exists():
        client.cursor = cursor.read_text()
    journal = open(folder / "journal", "ab")
    # The line that a kill tore stays apart from the next one.
    journal.write(b"\n")
    while True:
        answer = client.get("/v1/batches", after=client.cursor, limit=200, wait=2)
        if answer.status == 204:
            continue
        if answer.status != 200:
            sys.exit(f"{answer.status}: {answer.body.decode()}")
        journal.write(answer.body + b"\n")
        journal.flush()
        os.fsync(journal.fileno())
        if (folder / "hold").exists():
            (folder / "holding").touch()
            signal.pause()
        client.cursor = answer.json["next"]
        draft = folder / "cursor.draft"
        draft.write_text(client.cursor)
        draft.replace(cursor)


main()
