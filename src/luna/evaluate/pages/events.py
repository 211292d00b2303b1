"""The figures and plots of an evaluation as an event file, for TensorBoard."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from luna.run.files import replace_file, sweep, write_fault

EVENTS = "events"
"""Folder of the event file, below the folder of the evaluation."""

FILE = "events.out.tfevents.evaluation"
"""Always the same name, so that a second evaluation replaces the first. TensorBoard recognises
event files by `tfevents`."""


def write_events(out: Path, scalars: Mapping[str, float], images: Mapping[str, bytes]) -> None:
    """Write scalars, and PNG files by name, at step 0; the file appears whole or not at all."""
    # tensorboard takes a third of a second to import, and only this needs it.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
    for name, data in images.items():
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=data)
        values.append(Summary.Value(tag=Path(name).stem, image=image))
    now = time.time()
    events = (
        Event(wall_time=now, file_version="brain.Event:2"),
        Event(wall_time=now, step=0, summary=Summary(value=values)),
    )
    folder = out / EVENTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
    except OSError as error:
        raise write_fault(folder, error) from error
    with replace_file(folder / FILE) as temporary, temporary.open("wb") as stream:
        writer = RecordWriter(stream)
        for event in events:
            writer.write(event.SerializeToString())
        writer.flush()
