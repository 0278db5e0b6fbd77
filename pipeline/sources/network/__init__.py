"""Scans from other machines: asked for (DICOMweb) or pushed (C-STORE). Both end as files, which are then ingested."""
