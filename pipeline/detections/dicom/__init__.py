"""Detections as standard DICOM objects that go into the scan's own study.

::

    identity.py       who says it, when, and the UIDs that stay the same
    codes.py          classes and quantities as codes
    places.py         which image each slice of a volume is
    report.py         structured report, TID 1500
    annotations.py    Microscopy Bulk Simple Annotations
    segmentation.py   segmentation of outlines

These objects repeat the patient's module by nature: they are written where a user asks for them, and nowhere else.
"""
