"""A photo of a crowd, asked about by a stranger: the largest faces are labelled, and how many are not is told."""

import io
from types import SimpleNamespace

import numpy as np
from PIL import Image

from pipeline.faces.face_framing import Framing
from pipeline.faces.frame import TypicalEyes
from pipeline.faces.yunet import Face
from pipeline.images.decode import PhotoBytes
from pipeline.images.framing import View
from pipeline.images.photos import FaceSearch
from pipeline.serving import strangers
from pipeline.serving.labeller import Labeller


def face(number):
    """Smaller ones further to the right."""
    x, wide = 12.0 * number, 20.0 - number
    marks = [(x + share * wide, 8.0) for share in (0.3, 0.7)] + [(x + wide / 2, 14.0)] * 3
    return Face((x, 2.0, wide, wide), tuple(marks), 0.9)


def test_the_largest_faces_are_labelled_and_the_others_counted(monkeypatch):
    monkeypatch.setattr(strangers, "FACES", 3)
    faces = tuple(map(face, range(7)))
    typical = TypicalEyes(0.5, 0.4, 0.2)
    search = FaceSearch(Framing("a", typical, typical), SimpleNamespace(find=lambda pixels: faces), every=True)
    view = View(24, 18)
    labeller = Labeller([SimpleNamespace(view=view)], None, 1.0, 1, search)
    file = io.BytesIO()
    Image.fromarray(np.full((40, 120, 3), 90, np.uint8)).save(file, "PNG")
    seen = strangers.ForStrangers(labeller, None).look_at(PhotoBytes(file.getvalue(), "crowd.png"))
    assert seen.counts.face == faces[0]
    assert [other.face for other in seen.others] == list(faces[1:4])
    assert seen.left_out == 3
    whole = labeller.look_at(PhotoBytes(file.getvalue(), "crowd.png"), None, 50)
    assert (len(whole.others), whole.left_out) == (6, 0)
